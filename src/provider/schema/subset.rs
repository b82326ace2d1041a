//! What each format takes of JSON Schema, as data.

use super::DEPTH_MAX;

/// What a target accepts.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct Subset {
    pub(super) root: Root,
    /// What holds at every place; `None`: whatever is a schema.
    pub(super) places: Option<Places>,
}

/// What the outermost schema may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// An object with properties that is no union: unions are merged into one object.
    Object,
    /// Any schema.
    Any,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// Keywords that are kept. `$ref` here means that references to definitions may stay.
    pub(super) keywords: &'static [&'static str],
    /// Values of `format` that are kept; `None`: all.
    pub(super) formats: Option<&'static [&'static str]>,
    pub(super) types: Types,
    pub(super) enums: Enums,
    pub(super) objects: Objects,
    /// A union stands alone: what stands beside it goes into its branches.
    pub(super) lone_unions: bool,
    /// `required` names listed properties only.
    pub(super) required_listed: bool,
    pub(super) depth_max: usize,
}

impl Places {
    pub(super) fn keeps(&self, keyword: &str) -> bool {
        self.keywords.contains(&keyword)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Types {
    /// One type, or a list of them.
    Lists,
    /// One type, or one and null.
    OneOrNull,
    /// Exactly one, at every place, with `nullable` for null; lists have `items`. OpenAPI 3.0's way.
    Nullable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enums {
    Scalars,
    StringsAndNumbers,
    /// Strings with something in them.
    Strings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objects {
    Open,
    /// `additionalProperties: false`.
    Closed,
    /// That, and every property is required: optional ones become nullable.
    ClosedAndFull,
}

/// OpenAI's functions, not strict: any object at the root that is no union (error text of the API, 2026-11).
pub(in crate::provider) const OPENAI: Subset = Subset { root: Root::Object, places: None };

/// OpenAI's functions with all references put in place, for a server that takes none.
pub(in crate::provider) const INLINED: Subset = Subset {
    root: Root::Object,
    places: Some(Places {
        keywords: &[
            "additionalProperties",
            "anyOf",
            "const",
            "default",
            "description",
            "enum",
            "exclusiveMaximum",
            "exclusiveMinimum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minProperties",
            "minimum",
            "multipleOf",
            "pattern",
            "prefixItems",
            "properties",
            "required",
            "title",
            "type",
            "uniqueItems",
        ],
        formats: None,
        types: Types::Lists,
        enums: Enums::Scalars,
        objects: Objects::Open,
        lone_unions: false,
        required_listed: false,
        depth_max: DEPTH_MAX,
    }),
};

/// Anthropic's tools: the root is no union (the API refuses the whole request otherwise), 2026-11.
pub(in crate::provider) const ANTHROPIC: Subset = Subset { root: Root::Object, places: None };

/// OpenAI's strict functions and answers (platform.openai.com/docs/guides/structured-outputs, 2026-11), and the form that vLLM
/// wants them in (docs.vllm.ai, tool calling, strict mode, 2026-11). A model writes null for what it leaves out.
pub(in crate::provider) const OPENAI_STRICT: Subset = Subset { root: Root::Object, places: Some(STRICT) };

const STRICT: Places = Places {
    keywords: &[
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "definitions",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ],
    formats: Some(&["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"]),
    types: Types::Lists,
    enums: Enums::Scalars,
    objects: Objects::ClosedAndFull,
    lone_unions: false,
    required_listed: true,
    depth_max: 10,
};

/// Anthropic's structured outputs and strict tools (platform.claude.com/docs, structured outputs, 2026-11).
pub(in crate::provider) const ANTHROPIC_OUTPUT: Subset = Subset {
    root: Root::Object,
    places: Some(Places {
        keywords: &[
            "additionalProperties",
            "allOf",
            "anyOf",
            "const",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "properties",
            "required",
            "title",
            "type",
        ],
        formats: Some(&["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"]),
        types: Types::Lists,
        enums: Enums::Scalars,
        objects: Objects::Closed,
        lone_unions: false,
        required_listed: true,
        depth_max: DEPTH_MAX,
    }),
};

/// Gemini's `parameters`, and `responseSchema`: the resource `Schema` (ai.google.dev/api/caching#Schema, 2026-11). That
/// a union stands alone, an `enum` holds strings and lists have `items` is what the API's refusals say.
pub(in crate::provider) const GEMINI_PARAMETERS: Subset = Subset {
    root: Root::Object,
    places: Some(Places {
        keywords: &[
            "anyOf",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minProperties",
            "minimum",
            "pattern",
            "properties",
            "propertyOrdering",
            "required",
            "title",
            "type",
        ],
        formats: Some(&["date-time", "double", "enum", "float", "int32", "int64"]),
        types: Types::Nullable,
        enums: Enums::Strings,
        objects: Objects::Open,
        lone_unions: true,
        required_listed: true,
        depth_max: DEPTH_MAX,
    }),
};

/// Gemini's `parametersJsonSchema` (ai.google.dev/api/caching#FunctionDeclaration and, for the keywords,
/// ai.google.dev/api/generate-content#GenerationConfig, 2026-11). References would be allowed if nothing stood beside
/// them and no required property led back: they are put in place.
pub(in crate::provider) const GEMINI_JSON: Subset = Subset { root: Root::Object, places: Some(GEMINI_PLACES) };

/// Gemini's `responseJsonSchema`.
pub(in crate::provider) const GEMINI_OUTPUT: Subset = Subset { root: Root::Any, places: Some(GEMINI_PLACES) };

const GEMINI_PLACES: Places = Places {
    keywords: &[
        "additionalProperties",
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "prefixItems",
        "properties",
        "propertyOrdering",
        "required",
        "title",
        "type",
    ],
    formats: Some(&["date", "date-time", "time"]),
    types: Types::OneOrNull,
    enums: Enums::StringsAndNumbers,
    objects: Objects::Open,
    lone_unions: false,
    required_listed: true,
    depth_max: DEPTH_MAX,
};
