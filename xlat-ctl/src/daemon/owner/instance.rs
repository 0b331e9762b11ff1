//! Making a program instance that is ready to be attached: loaded, its table filled, tried with canaries.

use std::{net::IpAddr, sync::Arc, time::Instant};

use tracing::{debug, info, warn};
use xlat_common::settings::Settings;

use super::{canary, difference::Reshaping, eams, relay::Kernel};
use crate::{
    choice,
    config::Config,
    daemon::lookup::Rules,
    dataplane::{self, DataPlane, DataPlaneError, LoadOptions},
    eam,
    netlink::{Interface, Machine},
};

impl canary::Subject for DataPlane {
    fn run(&self, frame: &[u8], ifindex: u32) -> Result<(u32, Vec<u8>), String> {
        self.test_run(frame, ifindex).map_err(|error| error.to_string())
    }
}

/// A new program instance, empty, attached nowhere. `before`: the one in force; `seed`: its seed, where its table is to be copied.
pub(super) fn load_program(
    config: &Config,
    kernel: &Kernel,
    before: Option<&DataPlane>,
    seed: Option<u64>,
) -> Result<DataPlane, DataPlaneError> {
    let settings = Settings::from(config);
    let options = LoadOptions {
        max_eams: config.dataplane.max_eams,
        accounts: config.accounting.services,
        native: config.accounting.native,
        prefix_of_interface: config.interface_prefixes(),
        kernel_errors: config.icmp.kernel_errors,
        pins: Some(Arc::clone(&kernel.pins)),
        ways: Some(kernel.ways.clone()),
        handed_over: before.and_then(DataPlane::hand_over_fragmenter),
        seed,
        ..LoadOptions::default()
    };
    DataPlane::load(&settings, &options)
}

/// The instance in force, and in what the table to come differs from its.
pub(super) type Before<'relay> = (&'relay DataPlane, Reshaping<'relay>);

/// A program instance with its table filled, tried with canaries. One that fails is thrown away.
pub(super) fn filled(
    mut dataplane: DataPlane,
    config: &Config,
    table: &eam::Table,
    machine: &Machine,
    before: Option<Before<'_>>,
) -> anyhow::Result<DataPlane> {
    match fill(&mut dataplane, config, table, machine, before) {
        Ok(canaries) => {
            debug!("a new program instance has translated {canaries} canaries rightly");
            Ok(dataplane)
        }
        Err(error) => {
            dataplane.discard();
            Err(error)
        }
    }
}

fn fill(
    dataplane: &mut DataPlane,
    config: &Config,
    table: &eam::Table,
    machine: &Machine,
    before: Option<Before<'_>>,
) -> anyhow::Result<usize> {
    // The table first: an empty one is filled, which is much faster than changing one.
    let begun = Instant::now();
    if before.is_some_and(|before| copy(dataplane, config, before)) {
        debug!("{} entries copied and changed in {:.1?}", table.len(), begun.elapsed());
    } else {
        dataplane.replace_table(&eams::table_input(config, table), machine)?;
        debug!("{} entries filled in {:.1?}", table.len(), begun.elapsed());
    }
    dataplane.update_machine(machine)?;
    spoil(dataplane, table)?;
    let own = |address: IpAddr| {
        machine.addresses().find(|(own, _)| *own == address).map(|(_, interface)| interface.to_owned())
    };
    let rules = Rules { config, table, own: &own };
    // What comes from the fragmenter is translated already, whatever the configuration names.
    let is_own = |interface: &&Interface| dataplane.is_own_interface(interface.ifindex);
    let own_interface = machine.interfaces.iter().find(is_own).map(|interface| interface.ifindex);
    let wanted = |interface: &Interface| {
        choice::is_wanted(&config.dataplane.interfaces, machine, interface) && Some(interface.ifindex) != own_interface
    };
    if !DataPlane::can_be_tried() {
        info!("the new program instance is not tried with canaries: that takes Linux 5.15 or newer");
        return Ok(0);
    }
    let canaries = canary::send(dataplane, &rules, machine, wanted)
        .map_err(|reason| anyhow::anyhow!("the new program instance fails its trial and is not attached: {reason}"))?;
    dataplane.reset_counters()?;
    Ok(canaries)
}

/// Has a new instance lack an entry that a test names: `XLAT_SPOIL` is a file, in which its IPv4 prefix stands as long as that is
/// wanted. Not in release builds.
fn spoil(dataplane: &mut DataPlane, table: &eam::Table) -> Result<(), DataPlaneError> {
    #[cfg(debug_assertions)]
    if let Some(file) = std::env::var_os("XLAT_SPOIL")
        && let Ok(prefix) = std::fs::read_to_string(file)
        && let Some(entry) = table.iter().find(|entry| entry.pair.ipv4().to_string() == prefix)
    {
        dataplane.remove_eam(&dataplane::Eam { ipv4: entry.pair.ipv4(), ipv6: entry.pair.ipv6(), prefix: None })?;
    }
    #[cfg(not(debug_assertions))]
    let _ = (dataplane, table);
    Ok(())
}

/// Whether the table could be had from the instance in force.
fn copy(dataplane: &mut DataPlane, config: &Config, (old, difference): Before<'_>) -> bool {
    let eams = |entries: &[eam::Entry]| -> Vec<dataplane::Eam> {
        entries.iter().map(|entry| eams::dataplane_eam(config, &entry.pair)).collect()
    };
    let copied = dataplane.copy_table(old, &eams(difference.removed), &eams(difference.added));
    copied.unwrap_or_else(|error| {
        warn!("the table in force is not what it should be, it is filled anew: {error}");
        false
    })
}
