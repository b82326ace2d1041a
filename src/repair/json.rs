//! Reads the JSON that models write: strictly, and telling where it goes wrong.
//!
//! serde_json does the reading; added here is what it lets pass: a key that stands twice with different values (it
//! would take the last, silently) and nesting beyond [`DEPTH_MAX`]. Everything is one pass over the text.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::clip::{boundary, clip, one_line};

/// Deepest nesting of arrays and objects that is read; deeper ones cannot be journaled.
pub const DEPTH_MAX: usize = 64;

/// Longest JSON text that is read, in bytes. Models answer with at most some hundred thousand tokens, so nothing
/// honest is longer.
pub const JSON_BYTES_MAX: usize = 4 << 20;

/// The value of a JSON text. The error completes a sentence that begins with "the arguments are".
pub(super) fn read(text: &str) -> Result<Value, String> {
    if text.len() > JSON_BYTES_MAX {
        return Err(format!("too long: {} bytes, at most {JSON_BYTES_MAX} are read", text.len()));
    }
    let mut input = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut input).and_then(|value| input.end().map(|()| value));
    value.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let message = error.to_string();
        // serde_json ends its messages with the place, which we tell with what stands there.
        let fault = message.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&message);
        if text.trim().is_empty() {
            return "empty".to_owned();
        }
        let near = surroundings(text, line, column);
        format!("not valid JSON: {fault} at line {line}, column {column}, near `{near}`")
    })
}

/// Whether a text that should be JSON ends where JSON may end: outside of strings, with all brackets closed. A text
/// that does not was cut, whatever its sender says; one that does may still be no JSON.
pub fn complete_json(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    !in_string && depth == 0
}

/// What stands around a place in the text, on one line.
fn surroundings(text: &str, line: usize, column: usize) -> String {
    // Enough to recognise the place, short enough to leave room for the fault itself.
    const AROUND: usize = 30;
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let at = (start + column).min(text.len());
    let from = boundary(text, at.saturating_sub(AROUND));
    let to = boundary(text, at + AROUND);
    one_line(text[from..to].trim())
}

/// Builds a value, refusing what is ambiguous or too deep.
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        match self.depth {
            DEPTH_MAX => Err(E::custom(format!("nested more than {DEPTH_MAX} deep"))),
            depth => Ok(Strict { depth: depth + 1 }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.deeper()?)?;
            if map.get(&key).is_some_and(|earlier| *earlier != value) {
                let key = clip(&key, 100);
                return Err(A::Error::custom(format!("the key {key:?} stands there twice, with different values")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// Whether a text is a JSON object, as those who get it next will read it.
pub fn is_object(text: &str) -> bool {
    matches!(serde_json::from_str(text), Ok(Value::Object(_)))
}

/// The same JSON in one spelling: keys sorted, no spaces. A text that is no JSON stays as it is.
pub fn canonical(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            value.sort_all_objects();
            value.to_string()
        }
        Err(_) => text.to_owned(),
    }
}
