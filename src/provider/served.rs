//! The list of models that a server serves, read forgivingly: OpenAI's form (`{"data": [{"id": …}]}`), which everybody copies
//! and adds to, a bare list, and Gemini's and Ollama's own (`{"models": [{"name": …}]}`).

use serde_json::Value;

use super::{
    Class, Failure, Timeouts,
    failure::{self, failure},
    http::{self, Phase},
    json,
};

/// Longest list that is read, in bytes. OpenRouter's, the longest, is below 1 MiB (2026-11).
const LIST_BYTES_MAX: usize = 8 << 20;

/// A model that a server says it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// Most tokens of a request and its answer, where the server says so.
    pub window: Option<u64>,
    /// Who has made it available (`owned_by`): the maker of the model, or the kind of the server.
    pub owner: Option<String>,
}

/// Asks for the list.
pub(super) async fn ask(request: reqwest::RequestBuilder, timeouts: Timeouts) -> Result<Vec<Served>, Failure> {
    let mut incoming = http::send(request, timeouts).await?;
    let mut body = Vec::new();
    while let Some(bytes) = incoming.chunk(Phase::Next).await? {
        incoming.is_alive();
        body.extend_from_slice(&bytes);
        if body.len() > LIST_BYTES_MAX {
            return Err(failure(Class::MalformedAnswer, "the list of models is too long"));
        }
    }
    let none = || failure(Class::MalformedAnswer, "the answer is no list of models");
    let list = serde_json::from_slice::<Value>(&body).map_err(|_| none())?;
    match read(&list) {
        Some(served) => Ok(served),
        None if failure::is_error(&list) => Err(failure::of_value(&list)),
        None => Err(none()),
    }
}

/// Whether the chat template knows tools, by the `chat_template_caps` of llama.cpp's `/props` (its server's README, 2026-11).
pub(super) async fn shows_tools(request: reqwest::RequestBuilder, timeouts: Timeouts) -> Option<bool> {
    let mut incoming = http::send(request, timeouts).await.ok()?;
    let mut body = Vec::new();
    while let Some(bytes) = incoming.chunk(Phase::Next).await.ok()? {
        incoming.is_alive();
        body.extend_from_slice(&bytes);
        if body.len() > LIST_BYTES_MAX {
            return None;
        }
    }
    serde_json::from_slice::<Value>(&body).ok()?.pointer("/chat_template_caps/supports_tools")?.as_bool()
}

fn read(list: &Value) -> Option<Vec<Served>> {
    let models = [list.get("data"), list.get("models"), Some(list)].into_iter().flatten().find_map(Value::as_array)?;
    Some(models.iter().filter_map(model).collect())
}

fn model(model: &Value) -> Option<Served> {
    let name = match model {
        Value::String(name) => Some(name.as_str()),
        // Together and others have a display name beside the id.
        model => json::text(model, "id").or_else(|| json::text(model, "model")).or_else(|| json::text(model, "name")),
    }?;
    // vLLM; OpenRouter and Together; Groq; Mistral and LM Studio; Gemini.
    let keys = ["max_model_len", "context_length", "context_window", "max_context_length", "inputTokenLimit"];
    // llama.cpp: how it was started, and before that is told, the most that the model can do
    // (mostlygeek/llama-swap#984, 2026-08).
    let started = |key: &str| json::count(model.get("meta")?, key);
    let window = keys.iter().find_map(|key| json::count(model, key));
    let window = window.or_else(|| started("n_ctx")).or_else(|| started("n_ctx_train")).filter(|window| *window > 0);
    let owner = json::text(model, "owned_by").map(str::to_owned);
    Some(Served { name: name.strip_prefix("models/").unwrap_or(name).to_owned(), window, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_every_form() {
        type Models<'a> = &'a [(&'a str, Option<u64>)];
        let table: &[(&str, Option<Models<'_>>)] = &[
            (r#"{"object":"list","data":[]}"#, Some(&[])),
            // Ollama
            (
                r#"{"object":"list","data":[{"id":"qwen3:8b","object":"model","created":1,"owned_by":"library"}]}"#,
                Some(&[("qwen3:8b", None)]),
            ),
            // vLLM
            (r#"{"data":[{"id":"Qwen/Qwen3-8B","max_model_len":40960}]}"#, Some(&[("Qwen/Qwen3-8B", Some(40_960))])),
            // llama.cpp
            (
                r#"{"models":[{"name":"a.gguf","model":"a.gguf"}],"data":[{"id":"a.gguf","meta":{"n_ctx_train":131072}}]}"#,
                Some(&[("a.gguf", Some(131_072))]),
            ),
            (
                r#"{"data":[{"id":"a.gguf","meta":{"n_ctx":8192,"n_ctx_train":131072}}]}"#,
                Some(&[("a.gguf", Some(8192))]),
            ),
            // LM Studio
            (r#"{"data":[{"id":"x","max_context_length":8192}]}"#, Some(&[("x", Some(8192))])),
            // Gemini
            (
                r#"{"models":[{"name":"models/gemini-2.5-pro","inputTokenLimit":1048576}]}"#,
                Some(&[("gemini-2.5-pro", Some(1_048_576))]),
            ),
            // Together
            (
                r#"[{"id":"openai/gpt-oss-120b","context_length":131072}]"#,
                Some(&[("openai/gpt-oss-120b", Some(131_072))]),
            ),
            (r#"{"data":["a",{"id":""},{"id":"b","context_window":0},7,null]}"#, Some(&[("a", None), ("b", None)])),
            (r#"{"hello":"world"}"#, None),
            ("7", None),
        ];
        for (text, expected) in table {
            let expected = expected
                .map(|models| models.iter().map(|(name, window)| ((*name).to_owned(), *window)).collect::<Vec<_>>());
            let read = read(&serde_json::from_str(text).unwrap());
            let read = read.map(|models| models.into_iter().map(|it| (it.name, it.window)).collect::<Vec<_>>());
            assert_eq!(read, expected, "{text}");
        }
    }
}
