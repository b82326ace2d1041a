//! The programs of `examples/` do what they say.

use agentd::provider::{Client, Dialect};
use serde_json::json;

use crate::model::{Model, Reply, nobody};

#[path = "../../examples/router.rs"]
#[allow(dead_code, reason = "its `main` is for the command line")]
mod router;

/// What the program writes when its first provider is at this address, with the time that it took taken out.
fn written(base_url: &str) -> String {
    let mut out = Vec::new();
    let server = Client::builder(Dialect::OpenAiChat, base_url).name("server").build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(router::ask(server, "m", &mut out)).unwrap();
    let text = String::from_utf8(out).unwrap();
    let (before, after) = text.split_once(" answered within ").unwrap();
    format!("{before} answered{}", after.split_once(" ms").unwrap().1)
}

#[test]
fn the_router_alone_answers_without_a_key() {
    let (refused, answered) = ("server/m failed, transient\n", "script/any answered");
    let text = written(&nobody());
    assert_eq!(
        text,
        format!(
            "asking server/m\n{refused}asking server/m\n{refused}asking script/any\nI cannot know that without looking.\
             Let me look.[weather]\n\n{answered}\nit calls weather with {{\"city\":\"Oslo\"}}\n80 + 20 tokens, $0.0000\n"
        )
    );
}

#[test]
fn the_router_alone_asks_a_model() {
    let call = Reply::text("I look.").and_call("weather", json!({"city": "Oslo"})).usage(10_000, 1000);
    let model = Model::replying([call]);
    let text = written(&model.base_url());
    assert_eq!(
        text,
        "asking server/m\nI look.[weather]\n\nserver/m answered\nit calls weather with {\"city\":\"Oslo\"}\n\
         10000 + 1000 tokens, $0.0028\n"
    );
    assert_eq!(model.count(), 1);
    model.assert_valid();
}
