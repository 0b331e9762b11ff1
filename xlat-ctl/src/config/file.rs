//! The configuration file as it is written: every key optional, every value with its place in the text.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Unexpected, Visitor},
};
use toml::Spanned;

/// A value and where it stands.
pub(super) type Placed<T> = Option<Spanned<T>>;
/// A list whose elements know where they stand.
pub(super) type List<T> = Option<Spanned<Vec<Spanned<T>>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) dataplane: Dataplane,
    pub(super) translation: Translation,
    pub(super) prefix_for: Vec<Spanned<PrefixFor>>,
    pub(super) eam: Vec<Spanned<Eam>>,
    pub(super) icmp: Icmp,
    pub(super) deny: Deny,
    pub(super) state: State,
    pub(super) control: Control,
    pub(super) metrics: Metrics,
    pub(super) accounting: Accounting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Dataplane {
    pub(super) interfaces: List<String>,
    pub(super) xdp_mode: Placed<String>,
    pub(super) max_eams: Placed<Number>,
    pub(super) pin_directory: Placed<String>,
    pub(super) on_stop: Placed<String>,
    pub(super) on_restart: Placed<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Translation {
    pub(super) prefixes: List<String>,
    pub(super) lowest_ipv6_mtu: Placed<Number>,
    pub(super) hairpin: Placed<String>,
    pub(super) udp_zero_checksum: Placed<String>,
    pub(super) traffic_class: Placed<WordOrNumber>,
    pub(super) tos: Placed<WordOrNumber>,
    pub(super) flow_label: Placed<String>,
    pub(super) mtu_plateaus: List<Number>,
    pub(super) scope: Placed<String>,
    pub(super) well_known_prefix_strict: Placed<bool>,
    pub(super) strict: Placed<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PrefixFor {
    pub(super) prefix: Placed<String>,
    pub(super) interfaces: List<String>,
    pub(super) ipv4: List<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Eam {
    pub(super) ipv4: Placed<String>,
    pub(super) ipv6: Placed<String>,
    pub(super) comment: Placed<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Icmp {
    pub(super) errors: Placed<String>,
    pub(super) rate: Placed<Number>,
    pub(super) ipv4_pool: List<String>,
    pub(super) ipv6_pool: List<String>,
    pub(super) interface_info: Placed<bool>,
    pub(super) kernel_errors: Placed<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Deny {
    pub(super) ipv4: List<String>,
    pub(super) ipv6: List<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct State {
    pub(super) directory: Placed<String>,
    pub(super) history: Placed<Number>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Control {
    pub(super) socket: Placed<String>,
    pub(super) group: Placed<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: Placed<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Accounting {
    pub(super) services: Placed<bool>,
    pub(super) native: Placed<bool>,
    pub(super) busiest: Placed<Number>,
    pub(super) named: List<String>,
}

/// A whole number, however large: it is judged with its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(pub(super) i128);

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// `"copy"` or a number.
#[derive(Debug)]
pub(super) enum WordOrNumber {
    Word(String),
    Number(Number),
}

/// Reads a whole number, and a word where one may stand.
struct Reader {
    takes_words: bool,
}

impl Visitor<'_> for Reader {
    type Value = WordOrNumber;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.takes_words {
            "a word in quotation marks or a whole number"
        } else {
            "a whole number"
        })
    }

    fn visit_i64<E>(self, value: i64) -> Result<WordOrNumber, E> {
        Ok(WordOrNumber::Number(Number(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<WordOrNumber, E> {
        Ok(WordOrNumber::Number(Number(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<WordOrNumber, E> {
        if !self.takes_words {
            return Err(E::invalid_type(Unexpected::Str(value), &self));
        }
        Ok(WordOrNumber::Word(value.to_owned()))
    }
}

impl<'text> Deserialize<'text> for WordOrNumber {
    fn deserialize<D: Deserializer<'text>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader { takes_words: true })
    }
}

impl<'text> Deserialize<'text> for Number {
    fn deserialize<D: Deserializer<'text>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Reader { takes_words: false })? {
            WordOrNumber::Number(number) => Ok(number),
            WordOrNumber::Word(word) => Err(de::Error::invalid_type(Unexpected::Str(&word), &"a whole number")),
        }
    }
}
