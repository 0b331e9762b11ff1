//! Which addresses the packets of a scene have, drawn beforehand so that drawing costs the generator nothing.

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};
use xlat_bench_common::{STEPS, Step};

use crate::{
    address::{CLIENT_BITS, DENIED_CLIENT, FIRST_CLIENT, FIRST_ORDINARY, FIRST_SERVICE, addresses},
    frame::{Made, index_of},
    scene::{Draw, Kind, Scene, Way},
};

/// The same draws in every run.
const SEED: u64 = 0x0078_6c61_7462_656e;

/// The packets of a scene, as the generator takes them.
#[must_use]
pub(crate) fn schedule(scene: &Scene, packets: &[Made]) -> Vec<Step> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let clients = clients(scene, &mut random);
    let services = addresses(scene.table);
    let zipf = Zipf::new(f64::from(services), 1.0).expect("a distribution over at least one");
    let mix = scene.size.mix();
    let step = |number: u32| {
        let size = mix[number as usize % mix.len()];
        let template = index_of(scene, size);
        let rank = match scene.services {
            Draw::First => 0,
            Draw::Uniform => random.random_range(0..services),
            // Popular ones lie anywhere in the table, not side by side.
            Draw::Zipf => scatter(zipf.sample(&mut random) as u32 - 1, services),
        };
        let client = clients[random.random_range(0..clients.len())];
        let first =
            if scene.kind == Kind::Ordinary && scene.way == Way::FourToSix { FIRST_ORDINARY } else { FIRST_SERVICE };
        Step { service: (first + rank).to_be(), client: client.to_be(), template, len: packets[template as usize].len }
    };
    (0..len(scene)).map(step).collect()
}

/// How many addresses the packets of a scene are to.
pub(crate) fn population(scene: &Scene) -> u32 {
    let services = if scene.services == Draw::First { 1 } else { addresses(scene.table) };
    services.max(scene.clients)
}

/// Steps of a scene's schedule: a power of two, enough that what a cache has seen is not soon seen again.
fn len(scene: &Scene) -> u32 {
    (16 * population(scene)).next_power_of_two().clamp(1 << 12, STEPS)
}

fn clients(scene: &Scene, random: &mut SmallRng) -> Vec<u32> {
    if scene.kind == Kind::Denied {
        return vec![DENIED_CLIENT];
    }
    let more =
        (1..scene.clients).map(|_| FIRST_CLIENT & !((1 << CLIENT_BITS) - 1) | random.next_u32() >> (32 - CLIENT_BITS));
    [FIRST_CLIENT].into_iter().chain(more).collect()
}

/// Another number under `count` for each number under it, far from its neighbours'.
fn scatter(number: u32, count: u32) -> u32 {
    // A prime larger than any table: what has no factor in common with the count takes each number to another.
    const PRIME: u64 = 2_654_435_761;
    (u64::from(number) * PRIME % u64::from(count)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Macs, packets},
        scene::{Size, Table},
    };

    fn steps(scene: &Scene) -> Vec<Step> {
        schedule(scene, &packets(scene, Macs { destination: [2; 6], source: [4; 6] }))
    }

    #[test]
    fn uniform_draws_reach_every_part_of_the_table_and_zipf_ones_prefer() {
        let table = Table { eams: 1000, lengths: 1 };
        let count = |draw| {
            let mut hits = vec![0u32; 1000];
            for step in steps(&Scene::plain(Way::FourToSix, Kind::Udp).among(table, draw)) {
                hits[(u32::from_be(step.service) - FIRST_SERVICE) as usize] += 1;
            }
            (*hits.iter().min().expect("hits"), *hits.iter().max().expect("hits"))
        };
        let (least, most) = count(Draw::Uniform);
        assert!(least > 2 && most < 40, "{least} to {most}");
        let (_, most) = count(Draw::Zipf);
        assert!(most > 1500, "{most}");
    }

    #[test]
    fn scattering_loses_none() {
        let mut all: Vec<u32> = (0..1000).map(|number| scatter(number, 1000)).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
    }

    #[test]
    fn a_mix_keeps_its_proportions() {
        let scene = Scene::plain(Way::SixToFour, Kind::Udp).sized(Size::Imix);
        let short = steps(&scene).iter().take(1020).filter(|step| step.len == 64 - 4 + 20).count();
        assert_eq!(short, 595);
    }
}
