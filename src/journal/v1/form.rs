//! How one value becomes its stored form and comes back: plain values, texts, and the macros that tie a stored type to
//! its domain type field by field.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    chat::{CallId, OfferedName},
    journal::Damage,
    run::{NanoDollars, RunId, Time},
    store::BlobHash,
};

/// A stored form of `D`.
pub(super) trait Form<D>: Sized {
    /// The stored form of `value`; texts that are too large for it go to `texts`.
    fn write(value: &D, texts: &mut Outgoing) -> Self;

    /// The value again, with its texts from `texts`. Where one is missing there, that is noted and something stands in.
    fn read(self, texts: &mut Incoming) -> Result<D, Damage>;
}

/// Texts on their way out: which stay in the entry and which become blobs.
pub(super) struct Outgoing {
    inline_bytes_max: usize,
    pub(super) blobs: Vec<(BlobHash, Bytes)>,
}

impl Outgoing {
    pub(super) fn new(inline_bytes_max: usize) -> Self {
        Outgoing { inline_bytes_max, blobs: Vec::new() }
    }
}

/// Texts on their way in: the blobs that are at hand, and those that were looked for in vain.
#[derive(Default)]
pub(in crate::journal) struct Incoming {
    known: HashMap<BlobHash, Arc<str>>,
    pub(in crate::journal) missing: Vec<BlobHash>,
}

impl Incoming {
    /// Takes in the bytes of a blob.
    pub(in crate::journal) fn insert(&mut self, hash: BlobHash, bytes: &[u8]) -> Result<(), Damage> {
        if blake3::hash(bytes).as_bytes() != &hash.0 {
            return Err(Damage::Blob { hash: hex(hash), reason: "holds other bytes" });
        }
        let text = str::from_utf8(bytes).map_err(|_| Damage::Blob { hash: hex(hash), reason: "is no text" })?;
        self.known.insert(hash, text.into());
        Ok(())
    }
}

/// A blob's name in hexadecimal.
pub(in crate::journal) fn hex(hash: BlobHash) -> String {
    blake3::Hash::from_bytes(hash.0).to_hex().to_string()
}

/// A text: here, or in a blob of the run.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Text {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Arc<str>>,
    /// BLAKE3 of the text, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
    /// How long the blob is, for readers who do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Text {
    fn new(text: Arc<str>, texts: &mut Outgoing) -> Self {
        if text.len() <= texts.inline_bytes_max {
            return Text { text: Some(text), blob: None, bytes: None };
        }
        let hash = BlobHash(*blake3::hash(text.as_bytes()).as_bytes());
        let bytes = text.len() as u64;
        if texts.blobs.iter().all(|(other, _)| *other != hash) {
            texts.blobs.push((hash, Bytes::copy_from_slice(text.as_bytes())));
        }
        Text { text: None, blob: Some(hex(hash)), bytes: Some(bytes) }
    }

    /// The text; `None` when its blob is not at hand.
    fn get(self, texts: &mut Incoming) -> Result<Option<Arc<str>>, Damage> {
        match (self.text, self.blob) {
            (Some(text), None) => Ok(Some(text)),
            (None, Some(blob)) => {
                let hash = blake3::Hash::from_hex(&blob).map_err(|_| unreadable("blob", &blob))?;
                let hash = BlobHash(*hash.as_bytes());
                let known = texts.known.get(&hash).cloned();
                if known.is_none() {
                    texts.missing.push(hash);
                }
                Ok(known)
            }
            _ => Err(Damage::Payload("a text must be either here or in a blob".into())),
        }
    }
}

impl Form<Arc<str>> for Text {
    fn write(value: &Arc<str>, texts: &mut Outgoing) -> Self {
        Text::new(value.clone(), texts)
    }

    fn read(self, texts: &mut Incoming) -> Result<Arc<str>, Damage> {
        Ok(self.get(texts)?.unwrap_or_default())
    }
}

impl Form<String> for Text {
    fn write(value: &String, texts: &mut Outgoing) -> Self {
        Text::new(value.as_str().into(), texts)
    }

    fn read(self, texts: &mut Incoming) -> Result<String, Damage> {
        Ok(self.get(texts)?.as_deref().unwrap_or_default().to_owned())
    }
}

/// A JSON document, stored as its text so that it comes back with its keys in order and its numbers as they were.
impl Form<Arc<Value>> for Text {
    fn write(value: &Arc<Value>, texts: &mut Outgoing) -> Self {
        Text::new(value.to_string().into(), texts)
    }

    fn read(self, texts: &mut Incoming) -> Result<Arc<Value>, Damage> {
        let Some(text) = self.get(texts)? else { return Ok(Arc::default()) };
        serde_json::from_str(&text).map(Arc::new).map_err(|error| Damage::Payload(error.to_string().into()))
    }
}

/// A value that is stored as it is.
macro_rules! as_is {
    ($($ty:ty),*) => {$(
        impl Form<$ty> for $ty {
            fn write(value: &$ty, _: &mut Outgoing) -> Self {
                value.clone()
            }

            fn read(self, _: &mut Incoming) -> Result<$ty, Damage> {
                Ok(self)
            }
        }
    )*};
}
as_is!(bool, u32, u64, String);

/// A short text that the domain shares.
impl Form<Arc<str>> for String {
    fn write(value: &Arc<str>, _: &mut Outgoing) -> Self {
        value.to_string()
    }

    fn read(self, _: &mut Incoming) -> Result<Arc<str>, Damage> {
        Ok(self.into())
    }
}

impl Form<OfferedName> for String {
    fn write(value: &OfferedName, _: &mut Outgoing) -> Self {
        value.to_string()
    }

    fn read(self, _: &mut Incoming) -> Result<OfferedName, Damage> {
        Ok(OfferedName(self.into()))
    }
}

impl Form<CallId> for String {
    fn write(value: &CallId, _: &mut Outgoing) -> Self {
        value.to_string()
    }

    fn read(self, _: &mut Incoming) -> Result<CallId, Damage> {
        parse("call id", &self)
    }
}

impl Form<RunId> for String {
    fn write(value: &RunId, _: &mut Outgoing) -> Self {
        value.to_string()
    }

    fn read(self, _: &mut Incoming) -> Result<RunId, Damage> {
        parse("run id", &self)
    }
}

/// Milliseconds since 1970.
impl Form<Time> for i64 {
    fn write(value: &Time, _: &mut Outgoing) -> Self {
        value.0
    }

    fn read(self, _: &mut Incoming) -> Result<Time, Damage> {
        Ok(Time(self))
    }
}

/// Milliseconds.
impl Form<Duration> for u64 {
    fn write(value: &Duration, _: &mut Outgoing) -> Self {
        milliseconds(*value)
    }

    fn read(self, _: &mut Incoming) -> Result<Duration, Damage> {
        Ok(Duration::from_millis(self))
    }
}

/// A place in a text, in bytes.
impl Form<usize> for u64 {
    fn write(value: &usize, _: &mut Outgoing) -> Self {
        *value as u64
    }

    fn read(self, _: &mut Incoming) -> Result<usize, Damage> {
        usize::try_from(self).map_err(|_| unreadable("place in a text", self))
    }
}

impl Form<NanoDollars> for u64 {
    fn write(value: &NanoDollars, _: &mut Outgoing) -> Self {
        value.0
    }

    fn read(self, _: &mut Incoming) -> Result<NanoDollars, Damage> {
        Ok(NanoDollars(self))
    }
}

impl<D, F: Form<D>> Form<Option<D>> for Option<F> {
    fn write(value: &Option<D>, texts: &mut Outgoing) -> Self {
        value.as_ref().map(|value| F::write(value, texts))
    }

    fn read(self, texts: &mut Incoming) -> Result<Option<D>, Damage> {
        self.map(|form| form.read(texts)).transpose()
    }
}

impl<D, F: Form<D>> Form<Vec<D>> for Vec<F> {
    fn write(value: &Vec<D>, texts: &mut Outgoing) -> Self {
        value.iter().map(|value| F::write(value, texts)).collect()
    }

    fn read(self, texts: &mut Incoming) -> Result<Vec<D>, Damage> {
        self.into_iter().map(|form| form.read(texts)).collect()
    }
}

impl<D, F: Form<D>> Form<Arc<[D]>> for Vec<F> {
    fn write(value: &Arc<[D]>, texts: &mut Outgoing) -> Self {
        value.iter().map(|value| F::write(value, texts)).collect()
    }

    fn read(self, texts: &mut Incoming) -> Result<Arc<[D]>, Damage> {
        self.into_iter().map(|form| form.read(texts)).collect()
    }
}

impl<D, F: Form<D>> Form<Box<D>> for F {
    fn write(value: &Box<D>, texts: &mut Outgoing) -> Self {
        F::write(&**value, texts)
    }

    fn read(self, texts: &mut Incoming) -> Result<Box<D>, Damage> {
        F::read(self, texts).map(Box::new)
    }
}

/// Whole milliseconds; what is longer than they can count is as long as they can.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether an optional field says nothing, and so is left out.
pub(super) fn absent<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn parse<T: FromStr>(what: &str, text: &str) -> Result<T, Damage> {
    text.parse().map_err(|_| unreadable(what, text))
}

fn unreadable(what: &str, text: impl fmt::Debug) -> Damage {
    Damage::Payload(format!("{text:?} is not a {what}").into())
}

/// Ties stored structs to domain structs. Each has the domain's field names (`as` gives the name in JSON where it says
/// more), first those that every entry has, then those that are left out when they say nothing.
macro_rules! stored {
    ($(
        $module:ident::$name:ident {
            $($field:ident $(as $json:literal)? : $form:ty),* $(,)?
        } $(optional {
            $($opt:ident $(as $opt_json:literal)? : $opt_form:ty),* $(,)?
        })?;
    )*) => {$(
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        pub(super) struct $name {
            $($(#[serde(rename = $json)])? $field: $form,)*
            $($(
                #[serde(default, skip_serializing_if = "absent")]
                $(#[serde(rename = $opt_json)])?
                $opt: $opt_form,
            )*)?
        }

        impl Form<$module::$name> for $name {
            fn write(value: &$module::$name, texts: &mut Outgoing) -> Self {
                $name {
                    $($field: Form::write(&value.$field, texts),)*
                    $($($opt: Form::write(&value.$opt, texts),)*)?
                }
            }

            fn read(self, texts: &mut Incoming) -> Result<$module::$name, Damage> {
                Ok($module::$name {
                    $($field: Form::read(self.$field, texts)?,)*
                    $($($opt: Form::read(self.$opt, texts)?,)*)?
                })
            }
        }
    )*};
}

/// Ties stored words to the variants of a plain domain enum. The first word is left out where a field is optional.
macro_rules! words {
    ($(
        $module:ident::$name:ident { $first:ident = $first_word:literal $(, $variant:ident = $word:literal)* $(,)? }
    )*) => {$(
        #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
        enum $name {
            #[default]
            #[serde(rename = $first_word)]
            $first,
            $(#[serde(rename = $word)] $variant,)*
        }

        impl Form<$module::$name> for $name {
            fn write(value: &$module::$name, _: &mut Outgoing) -> Self {
                match value {
                    $module::$name::$first => $name::$first,
                    $($module::$name::$variant => $name::$variant,)*
                }
            }

            fn read(self, _: &mut Incoming) -> Result<$module::$name, Damage> {
                Ok(match self {
                    $name::$first => $module::$name::$first,
                    $($name::$variant => $module::$name::$variant,)*
                })
            }
        }
    )*};
}

/// Ties stored choices, `{"type": "…", "data": {…}}`, to a domain enum. Every form is an object, so that it can gain
/// fields.
macro_rules! choices {
    ($(
        $module:ident::$name:ident {
            $($variant:ident($form:ty) = $word:literal,)*
            $(; $($unit:ident = $unit_word:literal,)*)?
        }
    )*) => {$(
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "data")]
        enum $name {
            $(#[serde(rename = $word)] $variant($form),)*
            $($(#[serde(rename = $unit_word)] $unit,)*)?
        }

        impl Form<$module::$name> for $name {
            fn write(value: &$module::$name, texts: &mut Outgoing) -> Self {
                match value {
                    $($module::$name::$variant(value) => $name::$variant(Form::write(value, texts)),)*
                    $($($module::$name::$unit => $name::$unit,)*)?
                }
            }

            fn read(self, texts: &mut Incoming) -> Result<$module::$name, Damage> {
                Ok(match self {
                    $($name::$variant(form) => $module::$name::$variant(Form::read(form, texts)?),)*
                    $($($name::$unit => $module::$name::$unit,)*)?
                })
            }
        }
    )*};
}

pub(super) use {choices, stored, words};
