//! `store`: looks whether all that runs have left behind can be read, and makes its copy anew.

use serde_json::json;

use super::{
    args::{self, StoreWhat},
    exit::{Code, Trouble},
    open::open,
    out::Out,
    screen::Screen,
    text::{Form, count, escape},
};

/// Does what is asked of the stores.
pub(super) async fn store(what: &StoreWhat, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    match what {
        StoreWhat::Check(it) => check(it, screen, out).await,
        StoreWhat::Rebuild(it) => {
            let rebuilt = open(&it.shared)?.rebuild_stores().await?;
            if it.shared.json {
                out.document(&json!({ "rebuilt": rebuilt }))?;
            } else {
                out.text(&format!("made the copy of {} anew", count(rebuilt.len() as u64, "store")))?;
            }
            Ok(Code::Done)
        }
    }
}

/// The exit code says whether anything is wrong.
async fn check(it: &args::StoreCheck, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let checked = open(&it.shared)?.check_stores().await;
    let sound = checked.iter().all(|store| store.is_sound());
    if it.shared.json {
        let stores = checked.iter().map(|store| {
            let damaged = store.damaged.iter().map(|(run, reason)| json!({ "run": run.to_string(), "reason": reason }));
            json!({
                "dir": store.dir,
                "runs": store.runs,
                "damaged": damaged.collect::<Vec<_>>(),
                "places": store.places,
                "unusable": store.unusable,
            })
        });
        out.document(&json!({ "ok": sound, "stores": stores.collect::<Vec<_>>() }))?;
    } else {
        let mut runs = 0;
        for store in &checked {
            runs += store.runs;
            let damaged = store.damaged.iter().map(|(run, reason)| format!("run {run} is damaged: {reason}"));
            let places = store.places.iter().map(|place| format!("cannot be read: {place}"));
            let unusable = store.unusable.iter().map(|why| format!("{}: {why}", store.dir.display()));
            for line in unusable.chain(damaged).chain(places) {
                screen.tell(escape(&line, Form::Text));
            }
        }
        let damaged = checked.iter().map(|store| store.damaged.len()).sum::<usize>();
        out.text(&format!("read {}: {damaged} damaged", count(runs as u64, "run")))?;
    }
    Ok(if sound { Code::Done } else { Code::Store })
}
