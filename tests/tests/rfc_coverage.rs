//! `docs/rfc-coverage.md` against the sources: every requirement has its answer, and every answer its tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The RFCs that make up SIIT-DC.
const RFCS: [&str; 6] = ["RFC 7915", "RFC 7757", "RFC 6052", "RFC 6791", "RFC 7755", "RFC 7756"];

#[test]
fn every_row_has_its_tests() {
    let page = read(&workspace().join("docs/rfc-coverage.md"));
    let coverage = Coverage::parse(&page);
    let existing = existing_tests();
    let mut faults = coverage.faults(&existing);
    for rfc in RFCS {
        if !coverage.rows.iter().any(|row| row.section.starts_with(rfc)) {
            faults.push(format!("there is no row of {rfc}"));
        }
    }
    assert!(faults.is_empty(), "docs/rfc-coverage.md:\n{}", faults.join("\n"));
}

/// What a row says of its requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Compliant,
    DeliberatelyNot,
    DoesNotApply,
}

impl Status {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "compliant" => Some(Self::Compliant),
            "deliberately not" => Some(Self::DeliberatelyNot),
            "does not apply" => Some(Self::DoesNotApply),
            _ => None,
        }
    }
}

/// One requirement.
#[derive(Debug)]
struct Row {
    /// The line of the page, from 1 on.
    line: usize,
    /// The heading above its table, and the one above that if it is of a lower level.
    section: String,
    number: usize,
    status: Status,
    reason: String,
    tests: Vec<String>,
}

/// The page.
#[derive(Debug, Default)]
struct Coverage {
    rows: Vec<Row>,
    /// Lines of tables that are no rows.
    unreadable: Vec<String>,
}

impl Coverage {
    fn parse(page: &str) -> Self {
        let mut coverage = Self::default();
        let (mut chapter, mut section) = (String::new(), String::new());
        for (at, text) in page.lines().enumerate() {
            let line = at + 1;
            if let Some(heading) = text.strip_prefix("## ") {
                (chapter, section) = (heading.to_owned(), heading.to_owned());
            } else if let Some(heading) = text.strip_prefix("### ") {
                section = format!("{chapter}, {heading}");
            } else if text.starts_with('|') && !is_head(text) {
                match Row::parse(line, &section, text) {
                    Ok(row) => coverage.rows.push(row),
                    Err(fault) => coverage.unreadable.push(format!("line {line}: {fault}")),
                }
            }
        }
        coverage
    }

    /// All that is wrong, in words; `existing` are the names of all tests.
    fn faults(&self, existing: &BTreeSet<String>) -> Vec<String> {
        let mut faults = self.unreadable.clone();
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &self.rows {
            let before = last.insert(&row.section, row.number).unwrap_or(0);
            let mut found = row.faults(existing);
            if row.number != before + 1 {
                found.push(format!("its number follows {before}"));
            }
            let name = format!("line {}, {} number {}", row.line, row.section, row.number);
            faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
        }
        faults
    }
}

/// The first two lines of a table.
fn is_head(text: &str) -> bool {
    text.starts_with("| # |") || text.chars().all(|c| "|- ".contains(c))
}

impl Row {
    fn parse(line: usize, section: &str, text: &str) -> Result<Self, String> {
        let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, _, status, reason, tests] = cells[..] else {
            return Err(format!("{} cells in place of 6", cells.len()));
        };
        let number = number.parse().map_err(|_| format!("`{number}` is no number"))?;
        let status = Status::parse(status)
            .ok_or_else(|| format!("`{status}` is neither `compliant`, `deliberately not` nor `does not apply`"))?;
        let tests = parse_tests(tests)?;
        Ok(Self { line, section: section.to_owned(), number, status, reason: reason.to_owned(), tests })
    }

    fn faults(&self, existing: &BTreeSet<String>) -> Vec<String> {
        let missing = self.tests.iter().filter(|test| !existing.contains(*test));
        let mut faults: Vec<String> = missing.map(|test| format!("there is no test `{test}`")).collect();
        if self.status != Status::DoesNotApply && self.tests.is_empty() {
            faults.push("no test".to_owned());
        }
        if self.status != Status::Compliant && self.reason.is_empty() {
            faults.push("no reason".to_owned());
        }
        faults
    }
}

/// Names in backquotes, divided by commas; a dash stands for none.
fn parse_tests(cell: &str) -> Result<Vec<String>, String> {
    if matches!(cell, "" | "–") {
        return Ok(Vec::new());
    }
    let name = |part: &str| part.trim().strip_prefix('`')?.strip_suffix('`').map(str::to_owned);
    cell.split(',').map(|part| name(part).ok_or_else(|| format!("`{}` is no name of a test", part.trim()))).collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace around this crate").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

/// Every test of the workspace by the name that the page has for it: `file::test` here, `crate::file::test` elsewhere.
fn existing_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let tests = workspace().join("tests");
    let shared = macros_of_tests(&tokens(&tests.join("src/harness/row.rs")));
    let mut add = |module: &str, path: &Path| {
        let found = tests_in(&tokens(path), &shared);
        names.extend(found.into_iter().map(|test| format!("{module}::{test}")));
    };
    let conformance = tests.join("tests/conformance");
    for module in modules_in(&tokens(&conformance.join("main.rs"))) {
        add(&module, &conformance.join(format!("{module}.rs")));
    }
    for path in sources(&tests.join("tests")).iter().filter(|path| !path.starts_with(&conformance)) {
        add(&path.file_stem().expect("a file").to_string_lossy(), path);
    }
    for name in ["xlat-common", "xlat-ctl", "xtask"] {
        let root = workspace().join(name).join("src");
        for path in sources(&root) {
            let below = path.strip_prefix(&root).expect("a file below").with_extension("");
            let words = below.iter().map(|word| word.to_string_lossy().into_owned());
            let words = words.filter(|word| !["lib", "main", "mod"].contains(&word.as_str()));
            let module: Vec<String> = std::iter::once(name.replace('-', "_")).chain(words).collect();
            add(&module.join("::"), &path);
        }
    }
    names
}

/// Every Rust file below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(directory).unwrap_or_else(|error| panic!("listing {}: {error}", directory.display()));
    let mut found = Vec::new();
    for entry in listing {
        let path = entry.expect("an entry of a directory").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn tokens(path: &Path) -> Vec<TokenTree> {
    let parsed: Result<TokenStream, _> = read(path).parse();
    parsed.unwrap_or_else(|error| panic!("{} is no Rust: {error}", path.display())).into_iter().collect()
}

fn is_ident(tree: Option<&TokenTree>, word: &str) -> bool {
    matches!(tree, Some(TokenTree::Ident(ident)) if *ident == word)
}

fn is_punct(tree: Option<&TokenTree>, character: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn trees(stream: &TokenStream) -> Vec<TokenTree> {
    stream.clone().into_iter().collect()
}

/// `mod name;`
fn modules_in(trees: &[TokenTree]) -> Vec<String> {
    let modules = trees.windows(3).filter(|window| is_ident(window.first(), "mod") && is_punct(window.get(2), ';'));
    modules.map(|window| window[1].to_string()).collect()
}

/// The macros defined here that make tests: the `#[test]` is in their definition.
fn macros_of_tests(trees: &[TokenTree]) -> BTreeSet<String> {
    let definitions = trees.windows(4).filter(|window| is_ident(window.first(), "macro_rules"));
    let of_tests = definitions.filter(|window| window[3].to_string().replace(' ', "").contains("#[test]"));
    of_tests.map(|window| window[2].to_string()).collect()
}

/// The tests of a file: functions with `#[test]`, and the entries of macros that make tests, `shared` ones or its own. A test that
/// is ignored is none.
fn tests_in(trees: &[TokenTree], shared: &BTreeSet<String>) -> BTreeSet<String> {
    let macros: BTreeSet<String> = shared.union(&macros_of_tests(trees)).cloned().collect();
    let mut found = BTreeSet::new();
    collect(trees, &macros, &mut found);
    found
}

fn collect(all: &[TokenTree], macros: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let (mut is_test, mut is_ignored) = (false, false);
    for (at, tree) in all.iter().enumerate() {
        match tree {
            TokenTree::Group(group)
                if group.delimiter() == Delimiter::Bracket && at > 0 && is_punct(all.get(at - 1), '#') =>
            {
                let attribute = trees(&group.stream());
                is_test |= is_ident(attribute.first(), "test") || is_ident(attribute.get(3), "test");
                is_ignored |= is_ident(attribute.first(), "ignore");
            }
            TokenTree::Group(group) => {
                let invoked = at >= 2 && is_punct(all.get(at - 1), '!') && macros.contains(&all[at - 2].to_string());
                if invoked {
                    found.extend(entries(&trees(&group.stream())));
                } else {
                    collect(&trees(&group.stream()), macros, found);
                }
            }
            TokenTree::Ident(ident) if *ident == "fn" => {
                if let Some(TokenTree::Ident(name)) = all.get(at + 1)
                    && is_test
                    && !is_ignored
                {
                    found.insert(name.to_string());
                }
                (is_test, is_ignored) = (false, false);
            }
            _ => {}
        }
    }
}

/// The names of a macro's entries: each begins with its name, doc comments apart, and ends with a semicolon.
fn entries(trees: &[TokenTree]) -> Vec<String> {
    let name = |entry: &[TokenTree]| {
        let first = entry.iter().find_map(|tree| match tree {
            TokenTree::Ident(ident) => Some(ident.to_string()),
            _ => None,
        });
        first.unwrap_or_default()
    };
    let pieces = trees.split(|tree| is_punct(Some(tree), ';')).filter(|piece| !piece.is_empty());
    pieces.map(name).collect()
}

/// A page with one of each fault, and what is said of it.
#[test]
fn a_broken_page_is_refused() {
    let page = "\
## RFC 1

| # | § | Asked | xlat | How, or why not | Tests |
|---|---|---|---|---|---|
| 1 | 1 | good | compliant | | `a::there` |
| 2 | 1 | no test | compliant | because | – |
| 3 | 1 | a test that is not there | compliant | | `a::there`, `a::gone` |
| 4 | 1 | no test, and no reason | deliberately not | | |
| 5 | 1 | good | does not apply | to hosts | – |
| 6 | 1 | no reason | does not apply | | – |
| 7 | 1 | no such word | partly | because | `a::there` |
| 9 | 1 | two numbers too far, for 7 is no row | compliant | | `a::there` |
| 10 | 1 | a cell too few | compliant | `a::there` |
| x | 1 | no number | compliant | | `a::there` |
| 10 | 1 | no name | compliant | | a::there |

### More

| # | § | Asked | xlat | How, or why not | Tests |
|---|---|---|---|---|---|
| 1 | 1 | good, numbered anew | deliberately not | because | `a::there` |
";
    let existing = BTreeSet::from(["a::there".to_owned()]);
    let expected = [
        "line 11: `partly` is neither `compliant`, `deliberately not` nor `does not apply`",
        "line 13: 5 cells in place of 6",
        "line 14: `x` is no number",
        "line 15: `a::there` is no name of a test",
        "line 6, RFC 1 number 2: no test",
        "line 7, RFC 1 number 3: there is no test `a::gone`",
        "line 8, RFC 1 number 4: no test",
        "line 8, RFC 1 number 4: no reason",
        "line 10, RFC 1 number 6: no reason",
        "line 12, RFC 1 number 9: its number follows 6",
    ];
    assert_eq!(Coverage::parse(page).faults(&existing), expected);
}

#[test]
fn tests_are_found_as_the_compiler_finds_them() {
    let source = r##"
        macro_rules! pairs { ($($name:ident: $value:expr;)+) => {$( #[test] fn $name() {} )+}; }
        macro_rules! no_tests { ($($name:ident;)+) => {}; }
        /// In a comment: #[test] fn in_a_comment() {}
        #[test]
        #[expect(unused, reason = "an attribute between")]
        fn plain() { let text = "#[test] fn in_a_string() {}"; fn helper() {} }
        #[test]
        #[ignore = "never runs"]
        fn ignored() {}
        fn no_test() {}
        rows! {
            /// Documented.
            a_row "RFC 1": packet(|p| { let q = p; q }) => becomes(other());
            another "RFC 1" with "a = 1": x => y;
        }
        pairs! { a_pair: [1; 2]; }
        no_tests! { nothing; }
        mod tests {
            #[tokio::test]
            async fn in_a_module() {}
            proptest! { #[test] fn a_property(x in 0..2) {} }
        }
    "##;
    let trees: Vec<TokenTree> = source.parse::<TokenStream>().expect("Rust").into_iter().collect();
    let found = tests_in(&trees, &BTreeSet::from(["rows".to_owned()]));
    let expected = ["a_pair", "a_property", "a_row", "another", "in_a_module", "plain"];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}
