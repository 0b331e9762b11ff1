//! JSON as Jool reads it: keys in any case. A key that is there twice, of which Jool takes one, is refused.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::eam;

/// What Jool does not look at: it may be there any number of times.
const COMMENT: &str = "comment";

/// Reads a text; all keys are in lower case then.
///
/// # Errors
/// The text is no JSON, or an object has a key twice.
pub(super) fn read(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).map(|Lowered(value)| value)
}

/// A value whose objects have keys in lower case, each once.
struct Lowered(Value);

impl<'text> Deserialize<'text> for Lowered {
    fn deserialize<D: Deserializer<'text>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'text> Visitor<'text> for Reader {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'text>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Lowered(element)) = elements.next_element()? {
            list.push(element);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'text>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let key = key.to_lowercase();
            let before = object.remove(&key);
            let value = match before {
                Some(before) if key == COMMENT => vec![before, members.next_value::<Value>()?].into(),
                Some(_) => {
                    return Err(de::Error::custom(format!(
                        "the key `{}` is there twice: take one out",
                        eam::cut(&key)
                    )));
                }
                None if key == COMMENT => members.next_value::<Value>()?,
                None => members.next_value::<Lowered>()?.0,
            };
            object.insert(key, value);
        }
        Ok(object.into())
    }
}
