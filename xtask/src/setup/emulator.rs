//! What a virtual machine takes: the emulator, and the tools that read a kernel's modules.

use anyhow::{Context, Result, bail};

use super::{apt::PrivateApt, programs::ServicesStayOff, say};
use crate::shell::{self, capture, command, find_program};

const EMULATOR: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// Since this version the emulator has `igb`.
const OLDEST: u32 = 8;

/// Installs the emulator in a version that is new enough, of this release or its backports, and kmod.
pub(crate) fn install_if_missing() -> Result<()> {
    if installed_version().is_some_and(|version| version >= OLDEST) && find_program("depmod").is_some() {
        return Ok(());
    }
    if find_program("apt-get").is_none() || !shell::is_root() {
        bail!(
            "a virtual machine needs {EMULATOR} {OLDEST} or newer, and depmod: run this as root on Debian, or install what \
             Debian packages as {PACKAGE} and kmod"
        );
    }
    let apt = PrivateApt::new()?;
    let backports = apt.update_with_backports()?;
    let versions = apt.versions(PACKAGE)?;
    let suite = match versions.last() {
        Some(own) if major(own).is_some_and(|version| version >= OLDEST) => None,
        _ => Some(backports.as_str()),
    };
    say(&format!("installing Debian's packages {PACKAGE} and kmod, of {}", suite.unwrap_or("this release")));
    let _no_service_starts = ServicesStayOff::new()?;
    apt.install(&[PACKAGE, "kmod", "xz-utils"], suite).with_context(|| format!("installing {PACKAGE}"))
}

/// The major version of the emulator that is there.
fn installed_version() -> Option<u32> {
    let text = capture(&mut command(EMULATOR, ["--version"])).ok()?;
    major(text.split("version ").nth(1)?)
}

/// `10` of `1:10.0.2+ds-2`.
fn major(version: &str) -> Option<u32> {
    let version = version.split_once(':').map_or(version, |(_epoch, rest)| rest);
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn reads_the_major_version() {
        assert_eq!(major("1:7.2+dfsg-7+deb12u18"), Some(7));
        assert_eq!(major("10.0.2 (Debian 1:10.0.2+ds-2)"), Some(10));
    }
}
