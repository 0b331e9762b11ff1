use std::collections::HashSet;

use super::*;

#[test]
fn the_page_is_what_the_code_says() {
    let page = include_str!("../../../docs/drop-reasons.md");
    let expected = page_lines(&super::page());
    for (number, (have, want)) in page_lines(page).iter().zip(&expected).enumerate() {
        assert_eq!(have, want, "line {}: `xlat-ctl reason --markdown >docs/drop-reasons.md` mends it", number + 1);
    }
    assert_eq!(page_lines(page).len(), expected.len());
}

fn page_lines(page: &str) -> Vec<String> {
    page.lines().map(str::to_owned).collect()
}

#[test]
fn every_reason_has_an_entry_of_its_own() {
    let mut seen = HashSet::new();
    for reason in DropReason::ALL {
        let entry = entry(*reason);
        for (what, text) in [("meaning", entry.meaning), ("cause", entry.cause), ("remedy", entry.remedy)] {
            assert!(text.len() > 30 && text.ends_with('.'), "{}: {what}: {text}", reason.name());
            assert!(seen.insert(text), "{}: another reason has the same {what}", reason.name());
        }
        assert!(!entry.source.is_empty() && !entry.section.is_empty(), "{}", reason.name());
    }
}

/// The rule book in words names each reason, in the section that the entry names.
#[test]
fn the_rule_book_has_each_reason_where_the_entry_says() {
    let rules = include_str!("../../../docs/translation.md");
    let sections: Vec<&str> = rules.split("\n## ").skip(1).collect();
    for reason in DropReason::ALL.iter().filter(|reason| !matches!(reason, DropReason::Internal)) {
        let section = entry(*reason).section;
        let text = sections.iter().find(|text| text.starts_with(&format!("{section}. ")));
        let text = text.unwrap_or_else(|| panic!("{}: there is no section {section}", reason.name()));
        assert!(text.contains(&format!("`{}`", reason.name())), "{} is not in section {section}", reason.name());
    }
}

#[test]
fn an_unknown_name_leads_to_near_ones() {
    for (name, near) in [
        ("denied", "denied_source or denied_destination"),
        ("packet_to_big", "packet_too_big"),
        ("TTL_exceeded", "hop_limit_exceeded"),
        ("udp-checksum", "udp_checksum_zero or udp_checksum_zero_fragment"),
    ] {
        let said = find(name).unwrap_err();
        assert!(said.contains(near), "{name}: {said}");
    }
    assert_eq!(find("zzz").unwrap_err(), "reason zzz: there is no such drop reason; `xlat-ctl reason` lists them");
    assert_eq!(find("igmp"), Ok(DropReason::Igmp));
}
