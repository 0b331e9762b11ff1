//! `cargo xtask page`: the status page as a browser shows it.

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, require_root, show},
};

/// Opens it in a headless Chromium, light and dark, on a desk and on a phone, by keyboard alone.
pub(crate) fn run() -> Result<()> {
    require_root("the browser's test")?;
    setup::for_browser()?;
    let test = ["test", "--locked", "--package", "xlat-tests", "--test", "lab_page"];
    show(cargo(test).args(["--", "--ignored", "--nocapture"]))
}
