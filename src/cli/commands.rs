//! What each command does with the daemon.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, IsTerminal},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    bulkhead,
    chat::{CallId, Part},
    daemon::{self, Daemon, Driven, Report, Resume, Shown, Which},
    engine::Options,
    run::{CallRecord, Decision, End, Resolution, Run, RunId, Status},
    show::redact,
};

use super::{
    args::{self, Command},
    ask, attach, check, complete, config, doctor,
    drive::{How, drive},
    editor::Draft,
    exit::{Code, Signal, Trouble},
    init, models,
    open::{home, open},
    out::Out,
    permit, probe, repair, runs,
    screen::Screen,
    seen,
    serving::Serving,
    start, stats,
    stopper::Stopper,
    talk::{self, Begin},
    text::{Form, escape},
    tools,
    watch::{Show, watch},
};

/// Runs that `resume --all` drives at once: each may start tool servers of its own.
const RESUMED_AT_ONCE: usize = 8;

/// Does what a command says.
pub(super) async fn run(command: Command, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    match command {
        Command::Run(it) => start(it, screen, out).await,
        Command::Resume(it) if it.all => resume_all(it, screen, out).await,
        Command::Resume(it) => resume(it, screen, out).await,
        Command::Approve(it) => approve(it, screen, out).await,
        Command::Deny(it) => {
            let (daemon, id) = find_waiting(&it.shared, &it.run).await?;
            let decision = Decision::Deny(it.reason);
            let calls = daemon.decide(id, which(it.call, it.all), decision, it.for_run).await?;
            answered(&daemon, id, &calls, "refused", it.shared.json, screen, out).await
        }
        Command::Resolve(it) => {
            let (daemon, id) = find_waiting(&it.shared, &it.run).await?;
            let resolution = match it.happened {
                Some(result) => Resolution::Happened(result.map(happened).transpose()?),
                None if it.retry => Resolution::Retry,
                None => Resolution::DidNot,
            };
            let call = daemon.resolve(id, Some(it.call), resolution).await?;
            answered(&daemon, id, &[call], "resolved", it.shared.json, screen, out).await
        }
        Command::Cancel(it) => {
            let (daemon, id) = find(&it.shared, &it.run).await?;
            daemon.cancel(id).await?;
            answered(&daemon, id, &[], "cancelled", it.shared.json, screen, out).await
        }
        Command::Check(it) => check::check(&it, screen, out),
        Command::Config(it) => match it.what {
            args::ConfigWhat::Show(it) => config::show(&it, out),
        },
        Command::Schema(it) => config::schema(&it, out),
        Command::Models(it) => models::models(&it, out).await,
        Command::Probe(it) => probe::probe(&it, screen, out).await,
        Command::Stats(it) => stats::stats(&it, out).await,
        Command::Tools(it) => tools::tools(&it.what, screen, out).await,
        Command::Repair(it) => repair::repair(&it, out),
        Command::Runs(args::Runs { look: None, shared }) => ls(&shared, screen, out).await,
        Command::Runs(args::Runs { look: Some(args::Look::Ls(it)), .. }) => ls(&it.shared, screen, out).await,
        Command::Runs(args::Runs { look: Some(args::Look::Show(it)), .. }) => {
            let (daemon, id) = find(&it.shared, &it.run).await?;
            runs::show(&daemon, id, out, it.shared.json, it.shared.verbose > 0).await?;
            Ok(Code::Done)
        }
        Command::Init(it) => init::init(&it, screen, out).await,
        Command::Doctor(it) => doctor::doctor(&it, screen, out).await,
        Command::Completions(it) => complete::completions(&it),
        Command::Man(it) => complete::man(&it),
        Command::Runs(args::Runs { look: Some(args::Look::Watch(it)), .. }) => {
            let (daemon, id) = find(&it.shared, &it.run).await?;
            let show = match it.shared.json {
                true => Show::Progress,
                false if it.stream_json => Show::Stream,
                false => Show::Steps,
            };
            let (run, code) = watch(&daemon, id, show, screen, out).await?;
            if it.shared.json {
                out.document(&Report::new(id, &run))?;
            }
            Ok(code)
        }
        Command::Version(it) => version(&it, out),
    }
}

async fn start(it: args::Run, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    writable(&it.drive)?;
    let new = start::new(&it)?;
    let daemon = open(&it.shared)?;
    let silent = new.prompt.is_none() && new.input.is_none() && new.attached.is_empty();
    if silent && talk::possible(&it.drive, &it.shared, screen) {
        return match daemon.keyed(&new).await? {
            None => talk::talk(&daemon, Begin::New(Box::new(new)), &it.drive, &home()?, screen, out).await,
            // The conversation of this key goes on.
            Some(id) if daemon.show(id).await?.run.end().is_some() => {
                screen.tell(format_args!("run {id} (started with this key before) goes on"));
                let resume = Resume { limits: new.limits, allow: new.allow, ..Resume::default() };
                talk::talk(&daemon, Begin::Resume(id, resume), &it.drive, &home()?, screen, out).await
            }
            Some(id) => attach(&daemon, id, &new.definition, &it, screen, out).await,
        };
    }
    let stopper = Stopper::listen().context("cannot listen for signals")?;
    let definition = new.definition.clone();
    let driven = tokio::select! {
        started = daemon.start(new) => started,
        _ = stopper.more_than(0) => return Ok(stopped(&stopper)),
    };
    let driven = match driven {
        Err(daemon::Error::Keyed { run }) => {
            return tokio::select! {
                attached = attach(&daemon, run, &definition, &it, screen, out) => attached,
                // The run goes on without us.
                _ = stopper.more_than(0) => Ok(stopped(&stopper)),
            };
        }
        started => started?,
    };
    let serving = Serving::start(&daemon, screen);
    if it.explain_route {
        for (place, (endpoint, verdict)) in (1..).zip(driven.explain().await?) {
            screen.tell(format_args!("{place}. {}: {verdict}", escape(&endpoint, Form::Text)));
        }
    }
    let done = finish(driven, &it.drive, it.shared.json, screen, &stopper, out).await;
    serving.stop().await;
    done
}

/// Follows the run that a start key has started before, and gives out what it comes to as if it had been started here.
async fn attach(
    daemon: &Daemon,
    id: RunId,
    definition: &str,
    it: &args::Run,
    screen: &Screen,
    out: Out,
) -> Result<Code, Trouble> {
    let pid = daemon.listed(id).await?.driver;
    let driver = pid.map(|pid| format!("; process {pid} drives it")).unwrap_or_default();
    screen.tell(format_args!("run {id} (started with this key before{driver})"));
    let show = if it.drive.stream_json { Show::Stream } else { Show::Progress };
    let (run, code) = watch(daemon, id, show, screen, out).await?;
    if run.started().is_some_and(|started| &*started.definition != definition) {
        screen.tell("its agent file was changed since; the run is of the file as it was");
    }
    give_out(id, &run, &it.drive, it.shared.json, out)?;
    Ok(code)
}

fn stopped(stopper: &Stopper) -> Code {
    Code::of_signal(stopper.first().unwrap_or(Signal::Interrupt))
}

async fn resume(it: args::Resume, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    writable(&it.drive)?;
    let prompt = it.prompt.as_deref().map(start::prompt).transpose()?;
    let words = prompt.map(Part::text).into_iter().chain(attach::parts(&it.files)?).collect();
    let (daemon, id) = find(&it.shared, it.run.as_deref().unwrap_or("@last")).await?;
    let resume = Resume { words, limits: (&it.limits).into(), allow: it.drive.allow.clone() };
    let silent = resume.words.is_empty() && talk::possible(&it.drive, &it.shared, screen);
    if silent && matches!(daemon.show(id).await?.run.status(), Status::Done | Status::Failed | Status::Cancelled) {
        return talk::talk(&daemon, Begin::Resume(id, resume), &it.drive, &home()?, screen, out).await;
    }
    let stopper = Stopper::listen().context("cannot listen for signals")?;
    let told = !resume.words.is_empty();
    let driven = match daemon.resume(id, resume.clone()).await {
        // Whoever drives it, or works in its slot, is told what there is to tell.
        Err(daemon::Error::Driven { .. } | daemon::Error::Busy { .. })
            if resume != Resume::default() && resume.allow.is_empty() =>
        {
            let what = match daemon.tell(id, resume).await? {
                true => "was told",
                false => "is told when it goes on: whoever has it is busy",
            };
            return answered(&daemon, id, &[], what, it.shared.json, screen, out).await;
        }
        other => other?,
    };
    let serving = Serving::start(&daemon, screen);
    let done = finish(driven, &it.drive, it.shared.json, screen, &stopper, out).await;
    serving.stop().await;
    if told && matches!(done, Ok(Code::Waiting)) {
        screen.tell("what you said is kept, and told to the model when the run goes on");
    }
    done
}

/// Goes on with every run that can, a few at a time. The exit code is that of the oldest run that did not end well.
async fn resume_all(it: args::Resume, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let daemon = open(&it.shared)?;
    let stopper = Stopper::listen().context("cannot listen for signals")?;
    let unfinished = daemon.unfinished().await?;
    for id in unfinished.out_of_reach {
        screen.tell(format_args!("run {id} waits: another process works in its slot; see: agentd runs"));
    }
    let serving = Serving::start(&daemon, screen);
    let options = Options { allow_all: it.drive.yes, attended: false, no_wait: it.drive.no_wait };
    let how = How { options, stream: None, talk: false, named: false };
    let (daemon, stopper) = (&daemon, &stopper);
    let driving = stream::iter(unfinished.runs).map(|id| async move {
        // Once told to stop, nothing new is begun.
        if stopper.first().is_some() {
            return None;
        }
        let screen = screen.of_run(id);
        let resumed = bulkhead::caught(resume_one(daemon, id, how, &screen, stopper)).await;
        match resumed.unwrap_or_else(|panicked| Err(Trouble::from(daemon::Error::from(panicked)).about(id))) {
            Ok(done) => Some(done),
            Err(trouble) => {
                screen.tell(trouble.text());
                let mut document = trouble.document();
                document["run"] = id.to_string().into();
                Some((trouble.code, document))
            }
        }
    });
    let done: Vec<Option<(Code, Value)>> = driving.buffered(RESUMED_AT_ONCE).collect().await;
    serving.stop().await;
    let done: Vec<(Code, Value)> = done.into_iter().flatten().collect();
    let code = done.iter().map(|(code, _)| *code).find(|code| *code != Code::Done).unwrap_or(Code::Done);
    if it.shared.json {
        let runs: Vec<Value> = done.into_iter().map(|(_, report)| report).collect();
        out.document(&json!({ "runs": runs }))?;
    } else if done.is_empty() {
        screen.tell("no run can go on by itself; see: agentd runs");
    }
    Ok(code)
}

async fn resume_one(
    daemon: &Daemon,
    id: RunId,
    how: How,
    screen: &Screen,
    stopper: &Stopper,
) -> Result<(Code, Value), Trouble> {
    let mut driven = daemon.resume(id, Resume::default()).await?;
    let code = drive(&mut driven, how, screen, stopper).await?;
    Ok((code, report(&driven)))
}

/// Drives a run and gives out what it came to.
async fn finish(
    mut driven: Driven,
    wishes: &args::Drive,
    json: bool,
    screen: &Screen,
    stopper: &Stopper,
    out: Out,
) -> Result<Code, Trouble> {
    let attended = !json && !wishes.stream_json && io::stdin().is_terminal() && screen.is_terminal();
    let options = Options { allow_all: wishes.yes, attended, no_wait: wishes.no_wait };
    let how = How { options, stream: wishes.stream_json.then_some(out), talk: false, named: false };
    let code = drive(&mut driven, how, screen, stopper).await?;
    give_out(driven.id(), driven.run(), wishes, json, out)?;
    Ok(code)
}

/// Gives out what a run came to, where it is wanted.
fn give_out(id: RunId, run: &Run, wishes: &args::Drive, json: bool, out: Out) -> Result<(), Trouble> {
    let output = match run.end() {
        Some(End::Done { output }) => Some(output),
        _ => None,
    };
    match (&wishes.output, output) {
        (Some(file), Some(output)) => save(file, output).map_err(|error| Trouble::from(error).about(id))?,
        (None, Some(output)) if !json && !wishes.stream_json => out.text(output)?,
        _ => {}
    }
    if json {
        out.document(&Report::new(id, run))?;
    }
    Ok(())
}

/// Refuses an output file that can certainly not be written, before anything is spent.
fn writable(wishes: &args::Drive) -> Result<(), Trouble> {
    let Some(file) = &wishes.output else { return Ok(()) };
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match () {
        () if file.is_dir() => Err(Trouble::usage(format!("{} is a directory", file.display()))),
        () if !dir.is_dir() => Err(Trouble::usage(format!("there is no directory {}", dir.display()))),
        () => Ok(()),
    }
}

/// Writes an output to a file, whole or not at all. A file that is no plain one (a pipe, `/dev/stderr`) is written to.
fn save(file: &Path, output: &str) -> anyhow::Result<()> {
    let output = redact(output);
    let text = if output.ends_with('\n') { output.into_owned() } else { format!("{output}\n") };
    let plain = fs::symlink_metadata(file).map_or(true, |found| found.is_file());
    let written = if plain {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let fresh = file.with_file_name(name);
        fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, file)).inspect_err(|_| drop(fs::remove_file(&fresh)))
    } else {
        fs::write(file, text)
    };
    written.with_context(|| format!("cannot write {}; the run has its output: agentd runs show", file.display()))
}

/// Tells that a run took something in.
async fn answered(
    daemon: &Daemon,
    id: RunId,
    calls: &[CallId],
    what: &str,
    json: bool,
    screen: &Screen,
    out: Out,
) -> Result<Code, Trouble> {
    let subject = match calls {
        [] => format!("run {id}"),
        calls => calls.iter().map(CallId::to_string).collect::<Vec<_>>().join(", "),
    };
    screen.tell(format_args!("{subject} {what}"));
    let Shown { run, driver, .. } = daemon.show(id).await?;
    match driver {
        Some(_) if run.end().is_some() => {}
        Some(pid) => screen.tell(format_args!("process {pid} drives it; watch it with: agentd runs watch {id}")),
        None if run.end().is_none() => screen.tell(format_args!("resume with: agentd resume {id}")),
        None => {}
    }
    if json {
        out.document(&Report::new(id, &run).seen(driver.is_some()))?;
    }
    Ok(Code::Done)
}

/// What a call brought, as somebody says: JSON, or words.
fn happened(result: String) -> Result<Arc<str>, Trouble> {
    match serde_json::from_str::<serde::de::IgnoredAny>(&result) {
        Err(error) if result.trim_start().starts_with(['{', '[', '"']) => {
            Err(Trouble::usage(format!("--happened {result}: this is no JSON: {error}; nothing was resolved")))
        }
        _ => Ok(result.into()),
    }
}

async fn approve(it: args::Approve, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let (daemon, id) = find_waiting(&it.shared, &it.run).await?;
    let run = daemon.show(id).await?.run;
    let mut which = which(it.call, it.all);
    let for_run = it.for_run || it.write;
    let plain = !it.edit && it.arguments.is_none();
    if plain && let Some(done) = allowed_already(&run, which, for_run) {
        let calls: Vec<CallId> = done.iter().map(|call| call.id).collect();
        return answered(&daemon, id, &calls, "allowed already", it.shared.json, screen, out).await;
    }
    let mut meant = daemon.meant(id, which, &Decision::Allow).await?;
    let shown = show_questions(&run, &meant, screen);
    let known = seen::recall(id);
    seen::remember(id, &run);
    unseen(id, &run, which, &known, shown)?;
    let mut decision = Decision::Allow;
    if !plain {
        let call = meant.first().ok_or_else(|| Trouble::usage("no call waits for approval"))?.clone();
        which = Which::Call(call.id);
        let arguments = match it.arguments {
            Some(arguments) => {
                daemon.check_arguments(id, call.id, &arguments).await?;
                arguments
            }
            None => edited(&daemon, id, &call, screen).await?,
        };
        decision = Decision::Edit(arguments.into());
        meant = daemon.meant(id, which, &decision).await?;
    }
    if it.write {
        // Whoever wants both gets both or nothing.
        let file = permit::agent_file(&run).ok_or_else(|| Trouble::usage("the run never started"))?;
        for resolved in meant.iter().filter_map(|call| call.resolved.as_ref()) {
            permit::write_allow(&file, &resolved.origin).map_err(Trouble::usage)?;
            let line = format!("{} allows {} from now on", file.display(), resolved.origin);
            screen.tell(escape(&line, Form::Line));
        }
    }
    let calls: Vec<CallId> = meant.iter().map(|call| call.id).collect();
    match daemon.decide_on(id, &meant, decision, for_run).await {
        // Somebody else said the same a moment ago.
        Err(daemon::Error::Refused(why)) => {
            let run = daemon.show(id).await?.run;
            let named = |call: &CallId| allowed_already(&run, Which::Call(*call), for_run).is_some();
            match plain && calls.iter().all(named) {
                true => answered(&daemon, id, &calls, "allowed already", it.shared.json, screen, out).await,
                false => Err(daemon::Error::Refused(why).into()),
            }
        }
        other => {
            other?;
            answered(&daemon, id, &calls, "allowed", it.shared.json, screen, out).await
        }
    }
}

/// The calls that such an approval is about, when it has nothing left to change: all were allowed before. `None` when
/// something is open or was refused.
fn allowed_already(run: &Run, which: Which, for_run: bool) -> Option<Vec<&CallRecord>> {
    let asked = |call: &&CallRecord| call.asked.is_some();
    let calls: Vec<&CallRecord> = match which {
        Which::Call(call) => run.call(call).into_iter().collect(),
        Which::Only | Which::All if run.calls().any(CallRecord::undecided) => return None,
        // Of what was asked, the newest answer's.
        Which::Only | Which::All => {
            let turn = run.calls().filter(asked).map(|call| call.id.turn).max()?;
            run.calls().filter(asked).filter(|call| call.id.turn == turn).collect()
        }
    };
    let allowed = |call: &&CallRecord| {
        let decided = call.decided.as_ref().is_some_and(|given| !matches!(given.decision, Decision::Deny(_)));
        let tool = call.resolved.as_ref().map(|resolved| &resolved.origin);
        let for_run = !for_run || tool.is_some_and(|tool| run.policy_on(tool).is_some_and(|given| given.allow));
        decided && !call.undecided() && for_run
    };
    (!calls.is_empty() && calls.iter().all(allowed)).then_some(calls)
}

/// Shows calls that are about to be allowed: tool, effect and arguments. Returns how many bytes were left out.
fn show_questions(run: &Run, calls: &[CallRecord], screen: &Screen) -> usize {
    let mut hidden = 0;
    for call in calls {
        let shown = ask::show(run, call);
        hidden += shown.hidden;
        let more = if shown.hidden > 0 { format!("\n  ({})", shown.left_out()) } else { String::new() };
        screen.tell(format_args!("{}{more}", shown.text));
    }
    hidden
}

/// Refuses to allow what the person was not shown before: a question that has come since, or one that is another by now.
/// Whoever names a call means that one, also when they have not seen all of it.
fn unseen(id: RunId, run: &Run, which: Which, known: &BTreeSet<seen::Question>, hidden: usize) -> Result<(), Trouble> {
    let open = seen::questions(run);
    let refuse = |what: &str, call: CallId| {
        Err(Trouble::usage(format!(
            "{what}, and nothing is decided. To allow what is shown above: agentd approve {id} {call}"
        )))
    };
    if let Which::Call(call) = which {
        let other =
            known.iter().any(|it| it.call == call) && open.iter().any(|it| it.call == call && !known.contains(it));
        return if other {
            refuse("this call is asked about for another reason than when you last saw it", call)
        } else {
            Ok(())
        };
    }
    match open.iter().find(|question| !known.contains(question)) {
        Some(question) => refuse(&format!("{} was not shown to you before", question.call), question.call),
        None => match open.first().filter(|_| hidden > 0) {
            Some(question) => refuse("a part of what would be allowed is not shown", question.call),
            None => Ok(()),
        },
    }
}

/// The arguments that somebody puts in place of a call's, in an editor, until they can be run.
async fn edited(daemon: &Daemon, id: RunId, call: &CallRecord, screen: &Screen) -> Result<String, Trouble> {
    let draft = Draft::new(call.id, call.arguments()).context("cannot keep a draft")?;
    let nothing = || Trouble::usage(format!("nothing was changed, and nothing is decided about {}", call.id));
    loop {
        let session = tokio::task::spawn_blocking(draft.session());
        let arguments = session.await.context("the editor broke off")?.map_err(Trouble::usage)?.ok_or_else(nothing)?;
        let Err(fault) = daemon.check_arguments(id, call.id, &arguments).await else { return Ok(arguments) };
        let fault = Trouble::from(fault);
        let attended = io::stdin().is_terminal() && screen.is_terminal();
        if attended {
            screen.ask_anew(fault.text(), "edit again? [Y/n]:");
        }
        let answer = tokio::task::spawn_blocking(move || attended.then(ask::read_line).flatten());
        let answer = answer.await.ok().flatten().map(|line| line.trim().to_lowercase());
        if !answer.is_some_and(|answer| matches!(&*answer, "" | "y" | "yes" | "e")) {
            let kept = draft.keep();
            return Err(Trouble {
                message: format!("{}\nwhat you wrote is in {}", fault.message, kept.display()),
                ..fault
            });
        }
    }
}

/// Which calls a command is about.
fn which(call: Option<CallId>, all: bool) -> Which {
    match call {
        Some(call) => Which::Call(call),
        None if all => Which::All,
        None => Which::Only,
    }
}

async fn ls(shared: &args::Shared, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    runs::ls(&open(shared)?, screen, out, shared.json).await?;
    Ok(Code::Done)
}

fn version(it: &args::Version, out: Out) -> Result<Code, Trouble> {
    match it.json {
        true => out.document(&json!({"name": "agentd", "version": VERSION}))?,
        false => out.text(&format!("agentd {VERSION}"))?,
    }
    Ok(Code::Done)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

async fn find(shared: &args::Shared, run: &str) -> Result<(Daemon, RunId), Trouble> {
    let daemon = open(shared)?;
    let id = daemon.find(&run.to_lowercase()).await?;
    Ok((daemon, id))
}

/// The run that is meant, by who decides something: with more than one waiting for a person, `@last` is none of them.
async fn find_waiting(shared: &args::Shared, run: &str) -> Result<(Daemon, RunId), Trouble> {
    let (daemon, id) = find(shared, run).await?;
    if run.eq_ignore_ascii_case("@last") {
        let person =
            |listed: &daemon::Listed| listed.waits().any(|wait| matches!(wait, "approval" | "doubt" | "input"));
        let waiting: Vec<RunId> = daemon.runs().await?.iter().filter(|it| person(it)).map(|it| it.run).collect();
        if waiting.len() > 1 {
            let lines: String = waiting.iter().map(|run| format!("\n  {run}")).collect();
            return Err(Trouble::usage(format!("more than one run waits for a person; say which is meant:{lines}")));
        }
    }
    Ok((daemon, id))
}

fn report(driven: &Driven) -> Value {
    // A report has string keys and nothing that JSON lacks.
    serde_json::to_value(Report::new(driven.id(), driven.run())).unwrap_or_default()
}
