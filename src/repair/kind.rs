//! The kinds of repair: for each its stable name, its rung, and how sure its reading is.

use super::Risk;

/// Declares the kinds, a line each.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal $rung:ident $risk:ident;)+) => {
        /// What a single repair does.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Kind {
            /// The stable name in journals and statistics.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$name => $text,)+ }
            }

            /// The rung that makes it.
            pub fn rung(self) -> Rung {
                match self { $(Kind::$name => Rung::$rung,)+ }
            }

            /// How sure its reading is.
            pub fn risk(self) -> Risk {
                match self { $(Kind::$name => Risk::$risk,)+ }
            }
        }
    };
}

/// A rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rung {
    /// What stands around the arguments.
    Wire,
    /// The arguments as JSON.
    Syntax,
    /// The tool's name.
    Name,
    /// The arguments as values of a schema.
    Schema,
}

impl Rung {
    /// The stable name in journals.
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::Wire => "wire",
            Rung::Syntax => "syntax",
            Rung::Name => "name",
            Rung::Schema => "schema",
        }
    }
}

kinds! {
    /// No text at all, read as `{}`.
    EmptyArguments "empty_arguments" Wire Lossless;
    /// A code fence around the object.
    Fence "fence" Wire Lossless;
    /// A special token of a chat template, or a tag that closes a call.
    SpecialToken "special_token" Wire Lossless;
    /// `f({…});` around the object.
    CallAround "call_around" Wire Lossless;
    /// The object as the text of a JSON string.
    DoubleEncoded "double_encoded" Wire Lossless;
    /// `&quot;` and the like, where the structure itself is written so.
    Entities "entities" Wire Lossless;
    /// Sentences before or behind the only object.
    Prose "prose" Wire Unique;
    /// The same object again.
    Repeated "repeated_object" Wire Lossless;
    /// Closing brackets behind the end.
    ExtraClosers "extra_closers" Wire Lossless;
    /// Spaces that JSON does not know.
    OddSpace "odd_space" Syntax Lossless;
    /// A comment.
    Comment "comment" Syntax Lossless;
    /// A comma before a closing bracket, or two in a row.
    ExtraComma "extra_comma" Syntax Lossless;
    /// No comma between two complete members.
    MissingComma "missing_comma" Syntax Lossless;
    /// Quotes of another kind than JSON has.
    Quotes "quotes" Syntax Lossless;
    /// A key without its quotes, or with one of them.
    KeyQuotes "key_quotes" Syntax Lossless;
    /// `True`, `False`, `None`.
    Literal "python_literal" Syntax Lossless;
    /// `+5`, `.5`, `5.`.
    NumberForm "number_form" Syntax Lossless;
    /// Digits with leading zeros where text is wanted.
    DigitsAsText "digits_as_text" Syntax Lossless;
    /// `=` or `=>` for a colon.
    Assignment "assignment" Syntax Lossless;
    /// No colon behind a known key.
    MissingColon "missing_colon" Syntax Unique;
    /// A line break or another control character in a string.
    RawControl "raw_control" Syntax Lossless;
    /// A backslash that escapes nothing, kept as a backslash.
    LoneBackslash "lone_backslash" Syntax Lossless;
    /// `\\u{1F600}`.
    CodePoint "code_point" Syntax Lossless;
    /// A backslash before an apostrophe.
    EscapedApostrophe "escaped_apostrophe" Syntax Lossless;
    /// Strings joined by `+`.
    Concatenation "concatenation" Syntax Lossless;
    /// Quotes within a string.
    InnerQuotes "inner_quotes" Syntax Unique;
    /// No quote at the end of a string, which a known key follows.
    UnclosedString "unclosed_string" Syntax Unique;
    /// Text without quotes.
    BareText "bare_text" Syntax Unique;
    /// No `{` at the start.
    MissingBrace "missing_brace" Syntax Lossless;
    /// One closing bracket for another.
    WrongCloser "wrong_closer" Syntax Lossless;
    /// Closing brackets left out.
    MissingClosers "missing_closers" Syntax Unique;
    /// A known prefix or suffix, another case or other separators.
    NameSpelling "name_spelling" Name Unique;
    /// A letter or two.
    NameTypo "name_typo" Name Unique;
    /// A number, a boolean or null as the text of a string.
    LiteralInString "literal_in_string" Schema Lossless;
    /// An integer where text is wanted.
    IntegerAsText "integer_as_text" Schema Lossless;
    /// Another number where text is wanted.
    NumberAsText "number_as_text" Schema Unique;
    /// A list or an object as the text of a string.
    JsonInString "json_in_string" Schema Lossless;
    /// One value where a list is wanted.
    IntoList "into_list" Schema Unique;
    /// A list of one where its value is wanted.
    OutOfList "out_of_list" Schema Unique;
    /// `{"0": a, "1": b}` where a list is wanted.
    IndexMap "index_map" Schema Unique;
    /// A wrapper around the arguments or a value.
    Wrapper "wrapper" Schema Lossless;
    /// A key in another case or with other separators.
    KeySpelling "key_spelling" Schema Unique;
    /// A key that is off by one letter.
    KeyTypo "key_typo" Schema Unique;
    /// Another common name of a key.
    KeySynonym "key_synonym" Schema Unique;
    /// What a model says about its call, where it cannot matter.
    NoiseKey "noise_key" Schema Lossless;
    /// A key of the schema itself, as the schema has it.
    SchemaEcho "schema_echo" Schema Lossless;
    /// Null for something that may be left out.
    NullOptional "null_optional" Schema Lossless;
    /// A listed value in another case or with other separators.
    EnumSpelling "enum_spelling" Schema Unique;
}
