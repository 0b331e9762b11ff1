//! What packets are sent through: a relay with one way of handling them.

use std::{fmt, fs, net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result, bail};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use xlat_tests::lab::{Jool, Namespace, Running};

use crate::{
    address::{FIRST_SERVICE, SERVICES, TRANSLATION, within},
    programs::Programs,
    relay::{Attach, Relay},
    rig::{self, Arm, Rig, Shape},
    scene::{Table, Way},
};

/// MTU of the links: what XDP takes in one page, and more than the largest frame.
const MTU: u32 = 3400;

/// A way of handling packets.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub(crate) enum Subject {
    /// A bare XDP_TX.
    Transmit,
    /// A bare XDP redirect to the other arm.
    Redirect,
    /// A bare XDP_DROP.
    Discard,
    /// xlat on one arm, which sends by XDP_TX.
    XlatOneArm,
    /// xlat on two arms.
    Xlat,
    /// Linux forwarding, without XDP.
    Linux,
    /// Linux forwarding with xlat attached, which translates nothing of it.
    LinuxWithXlat,
    /// The same with `kernel_errors = false`: without an `ip -6 rule`.
    LinuxWithoutRules,
    /// TAYGA, with its tunnel device.
    Tayga,
    /// Jool, in the kernel.
    Jool,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Transmit => "bare XDP_TX",
            Self::Redirect => "bare redirect",
            Self::Discard => "bare XDP_DROP",
            Self::XlatOneArm => "xlat, one arm",
            Self::Xlat => "xlat",
            Self::Linux => "Linux",
            Self::LinuxWithXlat => "Linux with xlat",
            Self::LinuxWithoutRules => "the same, no rule",
            Self::Tayga => "TAYGA",
            Self::Jool => "Jool",
        })
    }
}

/// A relay that is ready.
pub(crate) struct Station {
    /// How it handles packets.
    pub(crate) subject: Subject,
    /// Its machine.
    pub(crate) rig: Rig,
    _relay: Option<Relay>,
    _tayga: Option<Tayga>,
    _jool: Option<Jool>,
}

impl Station {
    /// Makes one. `number` tells those of one outside apart.
    ///
    /// # Errors
    /// Without root, BPF or TAYGA.
    pub(crate) fn new(
        programs: &mut Programs,
        outside: &Namespace,
        number: u32,
        subject: Subject,
        table: Table,
    ) -> Result<Self> {
        let one_arm = matches!(subject, Subject::Transmit | Subject::XlatOneArm);
        let as_buffers =
            [Subject::Linux, Subject::LinuxWithXlat, Subject::LinuxWithoutRules, Subject::Tayga, Subject::Jool];
        let xdp_outside = !as_buffers.contains(&subject);
        let rig = Rig::new(outside, number, Shape { one_arm, mtu: MTU, xdp_outside })?;
        if xdp_outside {
            programs.attach(outside, "sink", rig.a.outside)?;
            if !one_arm {
                programs.attach(outside, "sink", rig.b.outside)?;
            }
        }
        let bare = match subject {
            Subject::Transmit => Some("transmit"),
            Subject::Redirect => Some("redirect"),
            Subject::Discard => Some("discard"),
            _ => None,
        };
        if let Some(name) = bare {
            programs.attach(&rig.relay, name, rig.a.ifindex)?;
            if !one_arm {
                programs.attach(&rig.relay, name, rig.b.ifindex)?;
            }
        }
        let relay = match subject {
            Subject::Xlat | Subject::XlatOneArm | Subject::LinuxWithXlat => {
                Some(Relay::load(&rig, number, table, Attach::Everywhere)?)
            }
            Subject::LinuxWithoutRules => Some(Relay::load(&rig, number, table, Attach::WithoutRules)?),
            _ => None,
        };
        let tayga = if subject == Subject::Tayga { Some(Tayga::start(&rig.relay)?) } else { None };
        let jool = if subject == Subject::Jool { Some(jool(&rig.relay)?) } else { None };
        Ok(Self { subject, rig, _relay: relay, _tayga: tayga, _jool: jool })
    }

    /// Where packets of a way arrive.
    pub(crate) fn arrival(&self, way: Way) -> &Arm {
        if way == Way::FourToSix { &self.rig.a } else { &self.rig.b }
    }

    /// Where they leave.
    pub(crate) fn departure(&self, way: Way) -> &Arm {
        if way == Way::FourToSix { &self.rig.b } else { &self.rig.a }
    }
}

/// Starts Jool on a relay, with the first service as its one mapping.
fn jool(relay: &Namespace) -> Result<Jool> {
    let (v4, v6) = (Ipv4Addr::from_bits(FIRST_SERVICE), within(SERVICES, FIRST_SERVICE));
    let mapping = (Ipv4Net::from(v4), Ipv6Net::from(v6));
    Jool::start(relay, Ipv6Net::new(TRANSLATION, 96)?, &[mapping], None)
}

/// The daemon and its files; gone when this is dropped.
pub(crate) struct Tayga {
    _process: Running,
    _directory: TempDir,
}

impl Tayga {
    /// Starts it on a relay, with the first service as its one mapping.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub(crate) fn start(relay: &Namespace) -> Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for TAYGA")?;
        let path = directory.path().join("tayga.conf");
        let (v4, v6) = (Ipv4Addr::from_bits(FIRST_SERVICE), within(SERVICES, FIRST_SERVICE));
        let data = directory.path().display();
        let text = format!(
            "tun-device nat64\nipv4-addr 198.18.2.1\nipv6-addr 2001:db8:fe:c::1\nprefix 2001:db8:6464::/96\n\
             map {v4} {v6}\ndata-dir {data}\n"
        );
        fs::write(&path, text).context("writing TAYGA's configuration")?;
        let config = path.to_string_lossy().into_owned();
        let said = relay.run(&format!("tayga --mktun -c {config}"));
        if !said.success {
            bail!("`{}` failed: {}{}", said.command, said.stdout, said.stderr);
        }
        relay.ip("link set dev nat64 up")?;
        relay.ip("route replace 16.0.0.0/8 dev nat64")?;
        relay.ip("route replace 2001:db8:6464::/96 dev nat64")?;
        let process = rig::start(relay, "tayga", &["-d", "-c", &config], &directory.path().join("log"))?;
        Ok(Self { _process: process, _directory: directory })
    }
}

/// How many packets an interface has received, by the calling thread's network namespace.
///
/// # Errors
/// There is none of that name.
pub(crate) fn received(name: &str) -> Result<u64> {
    let text =
        fs::read_to_string(Path::new("/proc/thread-self/net/dev")).context("reading /proc/thread-self/net/dev")?;
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
    let packets = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    packets.with_context(|| format!("no interface {name} in /proc/thread-self/net/dev"))
}
