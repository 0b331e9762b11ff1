//! `cargo xtask demo`: shows a person an IPv4-only client and an IPv6-only server talking through the relay.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{
    interrupt,
    lab::{Host, Lab},
    lab_verb,
    relay::{CONFIGURATION, Relay, log},
    shell::{capture, require_root, spell},
};

const PICTURE: &str = "
    client                        relay                            server
    IPv4 only                     xlat                             IPv6 only
    203.0.113.7  ── inet4 [XDP: 4 → 6, 6 → 4] inet6 ──  2001:db8:5e1:1::10
                    198.51.100.10 ⇄ 2001:db8:5e1:1::10
                    every other   ⇄ 2001:db8:6464::/96 + IPv4 address
";

/// How many lines of the metrics page are shown.
const METRICS_SHOWN: usize = 16;

/// Runs the whole demo; the lab goes away with it, also on failure and on Ctrl-C.
pub(crate) fn run() -> Result<()> {
    require_root("the demo")?;
    interrupt::catch();
    let (lab, relay) = lab_verb::start()?;
    println!("{PICTURE}\nThree network namespaces. The relay runs xlat-ctl with {CONFIGURATION}.");
    let mut demo = Demo { relay, step: 0 };
    demo.addresses()?;
    demo.four_to_six()?;
    demo.six_to_four()?;
    demo.control()?;
    demo.metrics()?;
    demo.end(lab)
}

struct Demo {
    relay: Relay,
    step: u32,
}

impl Demo {
    fn addresses(&mut self) -> Result<()> {
        self.explain("The client has no IPv6 address, the server no IPv4 address.");
        self.on(Host::Client, "ip", "-brief addr show dev eth0")?;
        self.on(Host::Server, "ip", "-brief addr show dev eth0").map(|_| ())
    }

    fn four_to_six(&mut self) -> Result<()> {
        self.explain("The client reaches the IPv6-only server by the IPv4 address that the EAM table gives it.");
        self.on(Host::Client, "ping", "-c 3 -i 0.2 -W 2 198.51.100.10")?;
        self.explain("The same for a web page: the server sees the client inside the translation prefix.");
        let page = self.on(Host::Client, "curl", "--silent --show-error --max-time 5 http://198.51.100.10/")?;
        expect(&page, "Hello 2001:db8:6464::cb00:7107!")
    }

    fn six_to_four(&mut self) -> Result<()> {
        self.explain("The reverse direction: the server reaches the IPv4-only client.");
        self.on(Host::Server, "ping", "-c 3 -i 0.2 -W 2 2001:db8:6464::203.0.113.7")?;
        let address = "http://[2001:db8:6464::203.0.113.7]/";
        let page = self.on(Host::Server, "curl", &format!("--silent --show-error --max-time 5 --globoff {address}"))?;
        expect(&page, "Hello 198.51.100.10!")
    }

    fn control(&mut self) -> Result<()> {
        self.explain("The relay's state: the XDP program sits on both interfaces.");
        self.xlat_ctl("status")?;
        self.explain("The EAM table, and by which rule an address is translated.");
        self.xlat_ctl("eam list")?;
        self.xlat_ctl("lookup 198.51.100.10")?;
        self.xlat_ctl("lookup 203.0.113.7")?;
        self.explain("What the program counted while the client and the server talked.");
        self.xlat_ctl("stats").map(|_| ())
    }

    fn metrics(&mut self) -> Result<()> {
        self.explain("The same for Prometheus; of the page only some lines that are not zero.");
        let url = "http://127.0.0.1:9464/metrics";
        println!("relay$ curl {url}");
        let page = capture(&mut Host::Relay.command("curl", &["--silent", "--show-error", "--fail", url]))?;
        let telling = page.lines().filter(|line| line.starts_with("xlat_") && !line.ends_with(" 0"));
        telling.take(METRICS_SHOWN).for_each(|line| println!("{line}"));
        expect(&page, "xlat_packets_total{")
    }

    fn end(mut self, lab: Lab) -> Result<()> {
        self.explain("The relay is asked to end; it detaches, and the lab is removed.");
        lab.down()?;
        self.relay.check_end()?;
        println!("All of it worked. `cargo xtask lab up` makes the same lab to look around in.");
        Ok(())
    }

    fn explain(&mut self, sentence: &str) {
        self.step += 1;
        println!("\n{}. {sentence}\n", self.step);
    }

    /// Shows a command as it would be typed on a host, runs it, and shows its output.
    fn on(&self, host: Host, program: &str, arguments: &str) -> Result<String> {
        let words: Vec<&str> = arguments.split(' ').collect();
        present(host, &format!("{program} {arguments}"), host.command(program, &words))
    }

    fn xlat_ctl(&self, arguments: &str) -> Result<String> {
        let words: Vec<&str> = arguments.split(' ').collect();
        present(Host::Relay, &format!("xlat-ctl {arguments}"), self.relay.xlat_ctl(&words))
    }
}

fn present(host: Host, typed: &str, mut command: Command) -> Result<String> {
    println!("{}$ {typed}", host.name());
    let output = command.output().with_context(|| format!("starting `{}`", spell(&command)))?;
    let (said, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{}\n", [said.trim_end(), complaints.trim_end()].join("\n").trim_end());
    interrupt::check()?;
    if !output.status.success() {
        bail!(
            "`{typed}` failed on the {} ({}); the relay's log is {}",
            host.name(),
            output.status,
            log("relay")?.display()
        );
    }
    Ok(said.into_owned())
}

fn expect(output: &str, part: &str) -> Result<()> {
    if !output.contains(part) {
        bail!("the output above should contain `{part}`");
    }
    Ok(())
}
