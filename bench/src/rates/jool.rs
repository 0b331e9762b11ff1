//! Packets a second of xlat, of Jool and of Linux forwarding, in turn on one machine.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::{Bench, Over, Slice, Subject};
use crate::{
    scene::{Kind, Scene, Size, Table, Way},
    stats::Spread,
};

/// What is measured in turn.
const SUBJECTS: [Subject; 3] = [Subject::Linux, Subject::Xlat, Subject::Jool];
/// How often in one trial; the fastest time counts, which is the least disturbed.
const TURNS: usize = 2;
/// The share of the packets sent that has to arrive; a trial with less is discarded, as the rig has lost them, and made again.
const LEAST_ARRIVED: f64 = 0.999;
/// With more discarded trials than that of one scene there is no measurement.
const MOST_DISCARDED: u32 = 20;
/// What xlat is to reach, times Jool.
const TARGET: f64 = 8.0;

/// One scene's trials: packets a second, in the order of [`SUBJECTS`].
struct Trials {
    scene: Scene,
    rates: Vec<[f64; 3]>,
    discarded: u32,
}

impl Trials {
    /// The ratio of two subjects, by trial.
    fn ratio(&self, one: Subject, over: Subject) -> Spread {
        let place = |subject| SUBJECTS.iter().position(|known| *known == subject).expect("it is measured");
        let (one, over) = (place(one), place(over));
        Spread::of(self.rates.iter().map(|rates| rates[one] / rates[over]))
    }

    fn row(&self) -> String {
        let thousands = |place: usize| Spread::of(self.rates.iter().map(|rates| rates[place] / 1e3)).median;
        let [linux, xlat, jool] = [0, 1, 2].map(thousands);
        let ratio = |one, over| self.ratio(one, over);
        format!(
            "| {} {} | {linux:.1} | {xlat:.1} | {jool:.1} | {:.1} | {:.2} | {:.2} | {} |",
            self.scene.way,
            self.scene.name,
            ratio(Subject::Xlat, Subject::Jool),
            ratio(Subject::Xlat, Subject::Linux),
            ratio(Subject::Jool, Subject::Linux),
            self.discarded
        )
    }
}

fn scenes() -> Vec<Scene> {
    let of = |way| {
        let plain = |kind| Scene::plain(way, kind);
        [plain(Kind::Udp), plain(Kind::Tcp), plain(Kind::Udp).sized(Size::Imix)]
    };
    Way::BOTH.into_iter().flat_map(of).collect()
}

/// Measures each scene `rounds` times, and gives the table.
///
/// # Errors
/// Without root, BPF or Jool; the rig loses packets in too many trials.
pub(crate) fn run(rounds: u32) -> Result<String> {
    let mut bench = Bench::new()?;
    for subject in SUBJECTS {
        bench.make(subject, Table::ONE)?;
    }
    let trials = |scene| Trials { scene, rates: Vec::new(), discarded: 0 };
    let mut all: Vec<Trials> = scenes().into_iter().map(trials).collect();
    for _ in 0..rounds {
        for trials in &mut all {
            measure(&mut bench, trials)?;
        }
    }
    Ok(table(&all, rounds))
}

/// One trial that has lost nothing.
fn measure(bench: &mut Bench, trials: &mut Trials) -> Result<()> {
    loop {
        let mut slices = [Slice::default(); 3];
        for _ in 0..TURNS {
            for (slice, subject) in slices.iter_mut().zip(SUBJECTS) {
                slice.keep_faster(bench.slice(&trials.scene, subject, 1, Over::Calls)?);
            }
        }
        let has_all = |slice: &Slice| slice.arrived as f64 >= slice.sent as f64 * LEAST_ARRIVED;
        if slices.iter().all(has_all) {
            trials.rates.push(slices.map(|slice| slice.per_second));
            return Ok(());
        }
        trials.discarded += 1;
        if trials.discarded > MOST_DISCARDED {
            let arrived = slices.map(|slice| format!("{} of {}", slice.arrived, slice.sent)).join(", ");
            bail!("{}: packets are lost in every trial; Linux, xlat, Jool: {arrived}", trials.scene.full_name());
        }
    }
}

fn table(all: &[Trials], rounds: u32) -> String {
    let mut text =
        "| packets | Linux, 1000/s | xlat | Jool | xlat / Jool | xlat / Linux | Jool / Linux | discarded |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for trials in all {
        let _ = writeln!(text, "{}", trials.row());
    }
    let least =
        all.iter().map(|trials| trials.ratio(Subject::Xlat, Subject::Jool).median).fold(f64::INFINITY, f64::min);
    let word = if least >= TARGET { "reached" } else { "missed" };
    let _ = write!(
        text,
        "\nMedian, least and greatest of {rounds} rounds. Target, at least {TARGET} times Jool: {word}, the least median is {least:.1}.\n"
    );
    text
}
