//! What both kinds of pages have in common.

use roff::{Roff, roman};

/// The heading of a page.
pub(crate) fn title(roff: &mut Roff, name: &str, section: &str) {
    let version = concat!("xlat ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [name, section, "", version, "xlat"]);
}

/// A heading within it.
pub(crate) fn section(roff: &mut Roff, name: &str) {
    roff.control("SH", [name]);
}

/// Lines that are filled to paragraphs: an empty line ends one, and a line that is set in stands as it is.
pub(crate) fn paragraphs<'a>(roff: &mut Roff, lines: impl IntoIterator<Item = &'a str>) {
    let mut filled = true;
    for line in lines {
        if line.trim().is_empty() {
            roff.control("PP", []);
            continue;
        }
        if filled == line.starts_with("  ") {
            roff.control(if filled { "nf" } else { "fi" }, []);
            filled = !filled;
        }
        roff.text([roman(line)]);
    }
    if !filled {
        roff.control("fi", []);
    }
}

/// Lines that stand as they are, set in.
pub(crate) fn verbatim<'a>(roff: &mut Roff, lines: impl IntoIterator<Item = &'a str>) {
    for control in ["PP", "RS", "nf"] {
        roff.control(control, []);
    }
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

/// The names of other pages, after each other.
pub(crate) fn see_also(roff: &mut Roff, names: &[String]) {
    section(roff, "SEE ALSO");
    roff.text([roman(names.join(", "))]);
}
