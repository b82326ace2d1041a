//! How one value becomes its stored form and comes back: plain values, texts, and the macros that tie a stored type to
//! its domain type field by field.

use std::{cell::RefCell, collections::HashMap, fmt, marker::PhantomData, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{
    chat::{CallId, OfferedName},
    journal::Damage,
    run::{NanoDollars, RunId, Time},
    store::BlobHash,
};

/// A stored form of `D`: how a value is written, straight from where it stands in the domain, and what is read again.
pub(super) trait Form<D>: Sized {
    /// Writes `value` in this form; texts that are too large for it go to `texts`.
    fn write<S: Serializer>(value: &D, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error>;

    /// Whether `value` says nothing, so that a field that may be left out is.
    fn absent(_: &D) -> bool {
        false
    }

    /// The value again, with its texts from `texts`. Where one is missing there, that is noted and something stands in.
    fn read(self, texts: &mut Incoming) -> Result<D, Damage>;
}

/// A value that serialises in the form `F`.
pub(super) struct Written<'a, D, F> {
    value: &'a D,
    texts: &'a Outgoing,
    form: PhantomData<F>,
}

impl<'a, D, F: Form<D>> Written<'a, D, F> {
    pub(super) fn new(value: &'a D, texts: &'a Outgoing) -> Self {
        Written { value, texts, form: PhantomData }
    }
}

impl<D, F: Form<D>> Serialize for Written<'_, D, F> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        F::write(self.value, self.texts, to)
    }
}

/// Texts on their way out: which stay in the entry and which become blobs.
pub(super) struct Outgoing {
    inline_bytes_max: usize,
    blobs: RefCell<Vec<(BlobHash, Bytes)>>,
}

impl Outgoing {
    pub(super) fn new(inline_bytes_max: usize) -> Self {
        Outgoing { inline_bytes_max, blobs: RefCell::default() }
    }

    pub(super) fn into_blobs(self) -> Vec<(BlobHash, Bytes)> {
        self.blobs.into_inner()
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
#[derive(Serialize, Deserialize)]
pub(super) struct Text<T = Arc<str>> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<T>,
    /// BLAKE3 of the text, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    blob: Option<String>,
    /// How long the blob is, for readers who do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Text<&str> {
    fn write<S: Serializer>(text: &str, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        if text.len() <= texts.inline_bytes_max {
            return Text { text: Some(text), blob: None, bytes: None }.serialize(to);
        }
        let hash = BlobHash(*blake3::hash(text.as_bytes()).as_bytes());
        let mut blobs = texts.blobs.borrow_mut();
        if blobs.iter().all(|(other, _)| *other != hash) {
            blobs.push((hash, Bytes::copy_from_slice(text.as_bytes())));
        }
        Text::<&str> { text: None, blob: Some(hex(hash)), bytes: Some(text.len() as u64) }.serialize(to)
    }
}

impl Text {
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
    fn write<S: Serializer>(value: &Arc<str>, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        Text::<&str>::write(value, texts, to)
    }

    fn read(self, texts: &mut Incoming) -> Result<Arc<str>, Damage> {
        Ok(self.get(texts)?.unwrap_or_default())
    }
}

impl Form<String> for Text {
    fn write<S: Serializer>(value: &String, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        Text::<&str>::write(value, texts, to)
    }

    fn read(self, texts: &mut Incoming) -> Result<String, Damage> {
        Ok(self.get(texts)?.as_deref().unwrap_or_default().to_owned())
    }
}

/// A JSON document, stored as its text so that it comes back with its keys in order and its numbers as they were.
impl Form<Arc<Value>> for Text {
    fn write<S: Serializer>(value: &Arc<Value>, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        Text::<&str>::write(&value.to_string(), texts, to)
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
            fn write<S: Serializer>(value: &$ty, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
                value.serialize(to)
            }

            fn absent(value: &$ty) -> bool {
                *value == <$ty>::default()
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
    fn write<S: Serializer>(value: &Arc<str>, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    fn read(self, _: &mut Incoming) -> Result<Arc<str>, Damage> {
        Ok(self.into())
    }
}

impl Form<OfferedName> for String {
    fn write<S: Serializer>(value: &OfferedName, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        value.as_str().serialize(to)
    }

    fn read(self, _: &mut Incoming) -> Result<OfferedName, Damage> {
        Ok(OfferedName(self.into()))
    }
}

impl Form<CallId> for String {
    fn write<S: Serializer>(value: &CallId, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    fn read(self, _: &mut Incoming) -> Result<CallId, Damage> {
        parse("call id", &self)
    }
}

impl Form<RunId> for String {
    fn write<S: Serializer>(value: &RunId, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    fn read(self, _: &mut Incoming) -> Result<RunId, Damage> {
        parse("run id", &self)
    }
}

/// Milliseconds since 1970.
impl Form<Time> for i64 {
    fn write<S: Serializer>(value: &Time, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(value.0)
    }

    fn read(self, _: &mut Incoming) -> Result<Time, Damage> {
        Ok(Time(self))
    }
}

/// Milliseconds.
impl Form<Duration> for u64 {
    fn write<S: Serializer>(value: &Duration, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(milliseconds(*value))
    }

    fn read(self, _: &mut Incoming) -> Result<Duration, Damage> {
        Ok(Duration::from_millis(self))
    }
}

/// A place in a text, in bytes.
impl Form<usize> for u64 {
    fn write<S: Serializer>(value: &usize, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        value.serialize(to)
    }

    fn read(self, _: &mut Incoming) -> Result<usize, Damage> {
        usize::try_from(self).map_err(|_| unreadable("place in a text", self))
    }
}

impl Form<NanoDollars> for u64 {
    fn write<S: Serializer>(value: &NanoDollars, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.0)
    }

    fn read(self, _: &mut Incoming) -> Result<NanoDollars, Damage> {
        Ok(NanoDollars(self))
    }
}

impl<D, F: Form<D>> Form<Option<D>> for Option<F> {
    fn write<S: Serializer>(value: &Option<D>, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => F::write(value, texts, to),
            None => to.serialize_none(),
        }
    }

    fn absent(value: &Option<D>) -> bool {
        value.is_none()
    }

    fn read(self, texts: &mut Incoming) -> Result<Option<D>, Damage> {
        self.map(|form| form.read(texts)).transpose()
    }
}

impl<D, F: Form<D>> Form<Vec<D>> for Vec<F> {
    fn write<S: Serializer>(value: &Vec<D>, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|value| Written::<D, F>::new(value, texts)))
    }

    fn absent(value: &Vec<D>) -> bool {
        value.is_empty()
    }

    fn read(self, texts: &mut Incoming) -> Result<Vec<D>, Damage> {
        self.into_iter().map(|form| form.read(texts)).collect()
    }
}

impl<D, F: Form<D>> Form<Arc<[D]>> for Vec<F> {
    fn write<S: Serializer>(value: &Arc<[D]>, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|value| Written::<D, F>::new(value, texts)))
    }

    fn read(self, texts: &mut Incoming) -> Result<Arc<[D]>, Damage> {
        self.into_iter().map(|form| form.read(texts)).collect()
    }
}

impl<D, F: Form<D>> Form<Box<D>> for F {
    fn write<S: Serializer>(value: &Box<D>, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        F::write(&**value, texts, to)
    }

    fn read(self, texts: &mut Incoming) -> Result<Box<D>, Damage> {
        F::read(self, texts).map(Box::new)
    }
}

/// Whole milliseconds; what is longer than they can count is as long as they can.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn parse<T: FromStr>(what: &str, text: &str) -> Result<T, Damage> {
    text.parse().map_err(|_| unreadable(what, text))
}

fn unreadable(what: &str, text: impl fmt::Debug) -> Damage {
    Damage::Payload(format!("{text:?} is not a {what}").into())
}

/// Writes an object: its fields, with the form of each, and behind them those that are left out when they say nothing.
macro_rules! write_fields {
    (
        $texts:ident, $to:ident,
        [$($field:expr => $name:expr, $form:ty;)*],
        [$($opt:expr => $opt_name:expr, $opt_form:ty;)*]
    ) => {{
        // JSON wants to know no more of the number than that it is not zero.
        let mut object = serde::Serializer::serialize_struct($to, "", 1)?;
        $(SerializeStruct::serialize_field(&mut object, $name, &Written::<_, $form>::new($field, $texts))?;)*
        $(if !<$opt_form as Form<_>>::absent($opt) {
            SerializeStruct::serialize_field(&mut object, $opt_name, &Written::<_, $opt_form>::new($opt, $texts))?;
        })*
        SerializeStruct::end(object)
    }};
}

/// The name of a field in JSON.
macro_rules! json_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $json:literal) => {
        $json
    };
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
        #[derive(Deserialize)]
        pub(super) struct $name {
            $($(#[serde(rename = $json)])? $field: $form,)*
            $($(
                #[serde(default)]
                $(#[serde(rename = $opt_json)])?
                $opt: $opt_form,
            )*)?
        }

        impl Form<$module::$name> for $name {
            fn write<S: Serializer>(value: &$module::$name, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
                write_fields! {
                    texts, to,
                    [$(&value.$field => json_name!($field $($json)?), $form;)*],
                    [$($(&value.$opt => json_name!($opt $($opt_json)?), $opt_form;)*)?]
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
        #[derive(Default, Deserialize)]
        enum $name {
            #[default]
            #[serde(rename = $first_word)]
            $first,
            $(#[serde(rename = $word)] $variant,)*
        }

        impl Form<$module::$name> for $name {
            fn write<S: Serializer>(value: &$module::$name, _: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(match value {
                    $module::$name::$first => $first_word,
                    $($module::$name::$variant => $word,)*
                })
            }

            fn absent(value: &$module::$name) -> bool {
                matches!(value, $module::$name::$first)
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

/// A choice as it is written: `{"type": "…", "data": {…}}`.
#[derive(Serialize)]
pub(super) struct Choice<T> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

impl<T: Serialize> Choice<T> {
    pub(super) fn write<S: Serializer>(r#type: &'static str, data: T, to: S) -> Result<S::Ok, S::Error> {
        Choice { r#type, data: Some(data) }.serialize(to)
    }
}

impl Choice<()> {
    pub(super) fn write_bare<S: Serializer>(r#type: &'static str, to: S) -> Result<S::Ok, S::Error> {
        Choice::<()> { r#type, data: None }.serialize(to)
    }
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
        #[derive(Deserialize)]
        #[serde(tag = "type", content = "data")]
        enum $name {
            $(#[serde(rename = $word)] $variant($form),)*
            $($(#[serde(rename = $unit_word)] $unit,)*)?
        }

        impl Form<$module::$name> for $name {
            fn write<S: Serializer>(value: &$module::$name, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
                match value {
                    $($module::$name::$variant(value) => {
                        Choice::write($word, Written::<_, $form>::new(value, texts), to)
                    })*
                    $($($module::$name::$unit => Choice::write_bare($unit_word, to),)*)?
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

pub(super) use {choices, json_name, stored, words, write_fields};
