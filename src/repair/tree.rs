//! JSON with the place of everything in it, for repairs that name bytes.

use std::borrow::Cow;

use super::json::DEPTH_MAX;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'t> {
    pub start: usize,
    pub end: usize,
    pub form: Form<'t>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Form<'t> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'t str),
    /// Decoded.
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Object(Vec<Member<'t>>),
}

/// A member of an object.
#[derive(Debug, Clone)]
pub(super) struct Member<'t> {
    /// Decoded.
    pub key: Cow<'t, str>,
    pub key_start: usize,
    pub key_end: usize,
    pub value: Node<'t>,
}

/// Reads strict JSON. `None` for anything else; who needs a reason asks [`super::json::read`].
pub(super) fn read(text: &str) -> Option<Node<'_>> {
    let mut reader = Reader { text, at: 0 };
    let node = reader.value(0)?;
    reader.space();
    (reader.at == text.len()).then_some(node)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn value(&mut self, depth: usize) -> Option<Node<'t>> {
        self.space();
        let start = self.at;
        let form = match self.peek()? {
            _ if depth > DEPTH_MAX => return None,
            b'{' => self.object(depth)?,
            b'[' => self.list(depth)?,
            b'"' => Form::Text(self.string()?),
            b't' => self.word("true", Form::Bool(true))?,
            b'f' => self.word("false", Form::Bool(false))?,
            b'n' => self.word("null", Form::Null)?,
            _ => {
                while matches!(self.peek(), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
                    self.at += 1;
                }
                let number = self.text.get(start..self.at)?;
                serde_json::from_str::<f64>(number).ok()?;
                Form::Number(number)
            }
        };
        Some(Node { start, end: self.at, form })
    }

    fn word(&mut self, word: &str, form: Form<'t>) -> Option<Form<'t>> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())?;
        Some(form)
    }

    fn list(&mut self, depth: usize) -> Option<Form<'t>> {
        self.take(b'[')?;
        let mut items = Vec::new();
        self.space();
        if self.take(b']').is_some() {
            return Some(Form::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.take(b',') {
                Some(()) => {}
                None => return self.take(b']').map(|()| Form::List(items)),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Form<'t>> {
        self.take(b'{')?;
        let mut members = Vec::new();
        self.space();
        if self.take(b'}').is_some() {
            return Some(Form::Object(members));
        }
        loop {
            self.space();
            let key_start = self.at;
            let key = self.string()?;
            let key_end = self.at;
            self.take(b':')?;
            members.push(Member { key, key_start, key_end, value: self.value(depth + 1)? });
            match self.take(b',') {
                Some(()) => {}
                None => return self.take(b'}').map(|()| Form::Object(members)),
            }
        }
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        let start = self.at;
        self.take(b'"')?;
        let mut escaped = false;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        self.at += 1;
        match escaped {
            false => self.text.get(start + 1..self.at - 1).map(Cow::Borrowed),
            true => serde_json::from_str(self.text.get(start..self.at)?).ok().map(Cow::Owned),
        }
    }
}
