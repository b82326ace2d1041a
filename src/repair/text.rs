//! Small looks at JSON text that several places need alike.

use serde_json::Value;

/// Whether `text` is a JSON object.
pub fn is_object(text: &str) -> bool {
    matches!(serde_json::from_str(text), Ok(Value::Object(_)))
}

/// The same JSON in one spelling: keys sorted, no spaces. Text that is no JSON stays as it is.
pub fn canonical(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            value.sort_all_objects();
            value.to_string()
        }
        Err(_) => text.to_owned(),
    }
}

/// The start of `text`, at most `bytes` long and ending with `…` if something was cut.
pub fn clip(text: &str, bytes: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= bytes {
        return text.into();
    }
    let mut end = bytes.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end]).into()
}
