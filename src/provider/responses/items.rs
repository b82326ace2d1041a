//! Puts the items of an answer together from the events in which they are streamed.
//!
//! The format says it thrice: an item begins (`added`), grows by deltas, and is given whole (`done`); the last event gives
//! all items once more. Servers leave out indexes (llama.cpp), use another id in every event, skip the deltas, or give
//! arguments only at the end. Always true:
//! - An event goes to an item only for a reason: same id, same place, or the only one of its kind that is open.
//! - A text given whole is the text. The arguments of a call are more than a text: where pieces that read as JSON and the
//!   whole disagree, both stay in sight, one behind the other, which is no JSON and so never executed.
//! - What goes back to its issuer is kept as the exact text that came.

use serde_json::Value;

use super::super::json::Scan;

/// Most items in one answer. No model makes more in earnest, and looking for the item of an event stays cheap.
pub(super) const ITEMS_MAX: usize = 1024;

/// One item of an answer.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    index: Option<u64>,
    /// It has been given whole.
    pub(super) is_done: bool,
    /// The last event holds it too.
    is_listed: bool,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Message(Message),
    Call(Call),
    Reasoning(Reasoning),
    /// An item that we do not know: its type and, once it is whole, its JSON text.
    Other {
        name: String,
        json: Option<String>,
    },
}

/// What sort of item an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Message,
    Call,
    Reasoning,
    Other,
}

/// Where an event says that its item stands; what is empty or `None` was not sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    pub(super) id: &'a str,
    pub(super) index: Option<u64>,
}

/// How an item is spoken of, from its beginning to the list of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage<'a> {
    /// It begins.
    Added,
    /// More of it comes.
    Growing,
    /// It is given whole; for a call, by id and name.
    Done { call_id: &'a str, name: &'a str },
    /// It stands in the list of all.
    Listed { call_id: &'a str, name: &'a str },
}

#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) texts: Texts,
    /// What part of the work it belongs to (`commentary`, `final_answer`), which is wanted back.
    pub(super) phase: Option<String>,
    /// Content of kinds that we do not know: type and JSON text.
    pub(super) others: Vec<(String, String)>,
}

#[derive(Debug, Default)]
pub(super) struct Reasoning {
    pub(super) summary: Texts,
    pub(super) content: Texts,
    /// The item as it came, if there is something in it that means anything without the server's memory.
    pub(super) json: Option<String>,
}

impl Reasoning {
    /// What it shows: the thoughts themselves, or the summary of them.
    pub(super) fn text(&self) -> String {
        let shown = if self.content.is_empty() { &self.summary } else { &self.content };
        shown.0.iter().map(|(_, text)| text.as_str()).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

/// Texts of one item in the order of their indexes.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<(u64, String)>);

impl Texts {
    /// The text at this index, or the last one; `None` when there are too many.
    fn at(&mut self, index: Option<u64>) -> Option<&mut String> {
        let index = index.or_else(|| Some(self.0.last()?.0)).unwrap_or(0);
        let at = self.0.partition_point(|(found, _)| *found < index);
        if self.0.get(at).is_none_or(|(found, _)| *found != index) {
            if self.0.len() >= ITEMS_MAX {
                return None;
            }
            self.0.insert(at, (index, String::new()));
        }
        self.0.get_mut(at).map(|(_, text)| text)
    }

    /// Adds a piece. Answers whether there was room for one more text.
    pub(super) fn add(&mut self, index: Option<u64>, piece: &str) -> bool {
        self.at(index).map(|text| text.push_str(piece)).is_some()
    }

    /// Takes a text given whole; answers what of it has not been told. Nothing, if it contradicts what was.
    pub(super) fn take_whole<'a>(&mut self, index: Option<u64>, whole: &'a str) -> &'a str {
        let Some(text) = self.at(index).filter(|_| !whole.is_empty()) else { return "" };
        let rest = whole.strip_prefix(text.as_str()).unwrap_or_default();
        whole.clone_into(text);
        rest
    }

    pub(super) fn joined(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, text)| text.is_empty())
    }
}

/// One call as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The id under which its result is asked for.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    /// The server says that it is cut.
    pub(super) is_cut: bool,
    /// The name has been told to whoever watches.
    pub(super) told: bool,
    /// The arguments stood in the item when it began, and may be a stand-in for those that come.
    is_stand_in: bool,
    /// Two readings remain, and both stand in `arguments`.
    is_contradicted: bool,
    scan: Scan,
}

impl Call {
    /// Whether the arguments may end where they end.
    pub(super) fn is_closed(&self) -> bool {
        self.scan.is_closed()
    }

    /// Adds a piece of the arguments.
    pub(super) fn add(&mut self, piece: &str) {
        if std::mem::take(&mut self.is_stand_in) {
            self.set("");
        }
        self.arguments.push_str(piece);
        self.scan.feed(piece.as_bytes());
    }

    /// Takes the arguments as they stand in an item that begins.
    pub(super) fn begin_with(&mut self, arguments: &str) {
        if self.arguments.is_empty() {
            self.set(arguments);
            self.is_stand_in = true;
        }
    }

    /// Takes the arguments as a whole.
    pub(super) fn take_whole(&mut self, whole: &str) {
        if whole.trim().is_empty() || whole == self.arguments || self.is_contradicted {
            return;
        }
        let agrees = self.is_stand_in
            || match serde_json::from_str::<Value>(&self.arguments) {
                Ok(pieces) => serde_json::from_str::<Value>(whole).is_ok_and(|whole| whole == pieces),
                // Pieces that were lost or came twice.
                Err(_) => true,
            };
        self.is_stand_in = false;
        if agrees {
            self.set(whole);
        } else {
            self.add(whole);
            self.is_contradicted = true;
        }
    }

    fn set(&mut self, arguments: &str) {
        arguments.clone_into(&mut self.arguments);
        self.scan = Scan::of(arguments);
    }
}

impl Item {
    fn sort(&self) -> Sort {
        match self.kind {
            Kind::Message(_) => Sort::Message,
            Kind::Call(_) => Sort::Call,
            Kind::Reasoning(_) => Sort::Reasoning,
            Kind::Other { .. } => Sort::Other,
        }
    }

    /// Whether this may be the call of this name. Ids tell nothing against it: some servers change them on the way, and a
    /// call that is taken for two would run twice. Anything but a call may be anything of its sort.
    fn may_be(&self, name: &str) -> bool {
        match &self.kind {
            Kind::Call(call) => call.name.is_empty() || name.is_empty() || call.name == name,
            _ => true,
        }
    }
}

/// The place of the item that an event is about; a new one at the end if there is none. `None` when there are too many.
pub(super) fn find(items: &mut Vec<Item>, sort: Sort, place: Place<'_>, stage: Stage<'_>) -> Option<usize> {
    if let Some(at) = known(items, sort, place, stage) {
        let item = &mut items[at];
        item.is_listed |= matches!(stage, Stage::Listed { .. });
        if item.id.is_empty() {
            place.id.clone_into(&mut item.id);
        }
        item.index = item.index.or(place.index);
        return Some(at);
    }
    if items.len() >= ITEMS_MAX {
        return None;
    }
    items.push(Item {
        id: place.id.to_owned(),
        index: place.index,
        is_done: false,
        is_listed: matches!(stage, Stage::Listed { .. }),
        kind: match sort {
            Sort::Message => Kind::Message(Message::default()),
            Sort::Call => Kind::Call(Call::default()),
            Sort::Reasoning => Kind::Reasoning(Reasoning::default()),
            Sort::Other => Kind::Other { name: String::new(), json: None },
        },
    });
    Some(items.len() - 1)
}

fn known(items: &[Item], sort: Sort, place: Place<'_>, stage: Stage<'_>) -> Option<usize> {
    let last = |fits: &dyn Fn(&Item) -> bool| items.iter().rposition(|item| item.sort() == sort && fits(item));
    let by_id = || last(&|item| !place.id.is_empty() && item.id == place.id);
    let by_index = |fits: &dyn Fn(&Item) -> bool| {
        place.index.and_then(|index| last(&|item| item.index == Some(index) && fits(item)))
    };
    // The only open one; the last open message, as pieces of text do no harm.
    let only_open = |fits: &dyn Fn(&Item) -> bool| {
        let at = last(&|item| !item.is_done && fits(item))?;
        let others = items[..at].iter().any(|item| item.sort() == sort && !item.is_done && fits(item));
        (sort != Sort::Call || !others).then_some(at)
    };
    match stage {
        // A beginning with an id of its own is one.
        Stage::Added if !place.id.is_empty() => by_id(),
        Stage::Added => by_index(&|item| !item.is_done && item.id.is_empty()),
        // Deltas behind the whole of an item still belong to it, if anything says so.
        Stage::Growing => by_id()
            .or_else(|| by_index(&|item| !item.is_done))
            .or_else(|| if place.id.is_empty() { by_index(&|_| true) } else { None })
            .or_else(|| only_open(&|_| true))
            .or_else(|| if place.id.is_empty() && place.index.is_none() { last(&|_| true) } else { None }),
        Stage::Done { call_id, name } => by_id()
            .or_else(|| by_call_id(items, call_id, name))
            .or_else(|| by_index(&|item| !item.is_done && item.may_be(name)))
            .or_else(|| only_open(&|item| item.may_be(name))),
        Stage::Listed { call_id, name } => {
            let by_id = by_id().filter(|at| !items[*at].is_listed);
            by_id
                .or_else(|| by_call_id(items, call_id, name).filter(|at| !items[*at].is_listed))
                .or_else(|| by_index(&|item| !item.is_listed && item.may_be(name)))
                .or_else(|| items.iter().position(|item| item.sort() == sort && !item.is_listed && item.may_be(name)))
        }
    }
}

fn by_call_id(items: &[Item], call_id: &str, name: &str) -> Option<usize> {
    let is_it = |item: &Item| item.may_be(name) && matches!(&item.kind, Kind::Call(call) if call.id == call_id);
    if call_id.is_empty() { None } else { items.iter().rposition(is_it) }
}
