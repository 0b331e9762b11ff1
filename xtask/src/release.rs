//! `cargo xtask release`: everything that is handed out, made twice, in two directories. Only what comes out with the same bytes
//! both times is a release that others can make again from its sources.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    setup,
    shell::{capture, cargo, command, remove_leftovers, show, target_dir, workspace},
};

/// Below a directory of its own: a path's length is not to matter either.
const CLONES: [&str; 2] = ["first", "another/second"];
/// Where `package` leaves its files, in a clone and here.
const RESULTS: &str = "package/out";

/// Makes the packages in two clones, compares, and places the files in `target/package/out`.
pub(crate) fn run() -> Result<()> {
    let changes = capture(&mut command("git", ["status", "--porcelain"]))?;
    ensure!(changes.is_empty(), "release: what is not committed would be left out; commit it first:\n{changes}");
    setup::for_packaging()?;
    // Not in the workspace, whose `.cargo/config.toml` cargo would add to the clones' own.
    remove_leftovers(&env::temp_dir(), "xlat-release-");
    let base = env::temp_dir().join(format!("xlat-release-{}", process::id()));
    empty(&base)?;
    // Not one that somebody else has made there.
    fs::create_dir(&base).with_context(|| format!("making {}", base.display()))?;
    let clones = CLONES.map(|name| base.join(name));
    // Both before either is built, which takes its time: what is committed meanwhile is in neither.
    clones.iter().try_for_each(|place| clone(place))?;
    clones.iter().try_for_each(|place| package_in(place))?;
    let [first, second] = clones.each_ref().map(|clone| clone.join("target").join(RESULTS));
    let [sums, others] = [sums(&first)?, sums(&second)?];
    let differing = differing(&sums, &others);
    if !differing.is_empty() {
        bail!(
            "release: the same sources gave other bytes in another directory: {}. Compare those in {} with those in {}",
            differing.join(", "),
            first.display(),
            second.display()
        );
    }
    let results = target_dir().join(RESULTS);
    empty(&results)?;
    fs::create_dir_all(&results).with_context(|| format!("making {}", results.display()))?;
    capture(&mut command("cp", ["--recursive", &format!("{}/.", first.display()), &results.to_string_lossy()]))?;
    empty(&base)?;
    println!("made twice, with the same bytes; in {}:", results.display());
    sums.iter().for_each(|(name, sum)| println!("{sum}  {name}"));
    Ok(())
}

/// Clones what is committed.
fn clone(place: &Path) -> Result<()> {
    let (from, to) = (workspace(), place.to_string_lossy().into_owned());
    show(&mut command("git", ["clone", "--quiet", "--no-hardlinks", &from.to_string_lossy(), &to]))?;
    let target = place.join("target");
    fs::create_dir_all(&target).with_context(|| format!("making {}", target.display()))?;
    // Compiling those once is enough: what they pack is what is compared.
    symlink(target_dir().join("tools"), target.join("tools")).context("lending the clone the packaging tools")
}

/// Makes the packages in a clone with its own `xtask`.
fn package_in(clone: &Path) -> Result<()> {
    let mut package = cargo(["run", "--quiet", "--locked", "--package", "xtask", "--", "package"]);
    show(package.current_dir(clone).env_remove("CARGO_TARGET_DIR"))
        .with_context(|| format!("packaging in {}", clone.display()))
}

/// The sums of the files in a directory, by name.
fn sums(directory: &Path) -> Result<BTreeMap<String, String>> {
    let file: PathBuf = directory.join("SHA256SUMS");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let pair = |line: &str| line.split_once("  ").map(|(sum, name)| (name.to_owned(), sum.to_owned()));
    let sums: BTreeMap<_, _> = text.lines().filter_map(pair).collect();
    ensure!(!sums.is_empty(), "{} lists nothing", file.display());
    Ok(sums)
}

/// The names of files that are not the same in both, or in one only.
fn differing(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("emptying {}", directory.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_that_differ_or_are_missing() {
        let sums = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, sum)| ((*name).to_owned(), (*sum).to_owned())).collect()
        };
        let one = sums(&[("a.deb", "1"), ("b.tar.xz", "2"), ("c.json", "3")]);
        let other = sums(&[("a.deb", "1"), ("b.tar.xz", "4"), ("d.json", "3")]);
        assert_eq!(differing(&one, &one), Vec::<String>::new());
        assert_eq!(differing(&one, &other), ["b.tar.xz", "c.json", "d.json"]);
    }
}
