//! Settings from words: `NAME = VALUE` and `NAME += VALUE`, one per line or separated by `;`.
//!
//! ```text
//! file    = { [ setting ] End }
//! setting = Identifier ( '=' | '+=' ) value
//! value   = Text | Number | '[' [ value { ',' value } [ ',' ] ] ']'
//! ```
//!
//! Ends of lines within brackets mean nothing.

use super::ConfigError;
use super::lexer::{Placed, Token, split};

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A number.
    Number(u64),
    /// A list; each element with its line.
    List(Vec<(u32, Value)>),
}

impl Value {
    /// For messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("the string \"{text}\""),
            Self::Number(number) => format!("the number {number}"),
            Self::List(_) => "a list".into(),
        }
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The file it is in.
    pub file: String,
    /// Its line.
    pub line: u32,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// Lists in lists deeper than this are refused.
const DEPTH: u32 = 16;

/// The settings of `text`. A later one replaces an earlier one of the same name; `+=` appends to it.
///
/// # Errors
/// The text is not of the grammar.
pub fn parse(file: &str, text: &str) -> Result<Vec<Assignment>, ConfigError> {
    let tokens = split(file, text)?;
    let mut parser = Parser {
        file,
        tokens: tokens.into_iter().peekable(),
        line: 1,
    };
    let mut settings: Vec<Assignment> = Vec::new();
    while let Some(setting) = parser.setting()? {
        let (append, setting) = setting;
        let earlier = settings.iter().position(|other| other.name == setting.name);
        match earlier {
            Some(index) if append => add(file, &mut settings[index], setting)?,
            Some(index) => settings[index] = setting,
            None => settings.push(setting),
        }
    }
    Ok(settings)
}

/// `earlier += more`.
fn add(file: &str, earlier: &mut Assignment, more: Assignment) -> Result<(), ConfigError> {
    let line = more.line;
    match (&mut earlier.value, more.value) {
        (Value::Text(text), Value::Text(more)) => text.push_str(&more),
        (Value::List(list), Value::List(more)) => list.extend(more),
        (Value::List(list), more) => list.push((line, more)),
        (before, more) => {
            let message = format!(
                "{} cannot be appended to {} of line {}",
                more.describe(),
                before.describe(),
                earlier.line
            );
            return Err(ConfigError::new(file, line, message));
        }
    }
    Ok(())
}

struct Parser<'a> {
    file: &'a str,
    tokens: std::iter::Peekable<std::vec::IntoIter<Placed>>,
    line: u32,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let (line, token) = self.tokens.next()?;
        self.line = line;
        Some(token)
    }

    /// The next setting, and whether it appends.
    fn setting(&mut self) -> Result<Option<(bool, Assignment)>, ConfigError> {
        let name = loop {
            match self.next() {
                None => return Ok(None),
                Some(Token::End) => {}
                Some(Token::Identifier(name)) => break name,
                Some(other) => return Err(self.expected("the name of a setting", Some(&other))),
            }
        };
        let line = self.line;
        let append = match self.next() {
            Some(Token::Equals) => false,
            Some(Token::PlusEquals) => true,
            other => return Err(self.expected(&format!("'=' after {name}"), other.as_ref())),
        };
        let value = self.value(0)?;
        match self.next() {
            None | Some(Token::End) => {}
            other => {
                let place = format!("the end of the line after the value of {name}");
                return Err(self.expected(&place, other.as_ref()));
            }
        }
        let file = self.file.to_owned();
        Ok(Some((
            append,
            Assignment {
                file,
                line,
                name,
                value,
            },
        )))
    }

    fn value(&mut self, depth: u32) -> Result<Value, ConfigError> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Value::Text(text)),
            Some(Token::Number(number)) => Ok(Value::Number(number)),
            Some(Token::Open) if depth < DEPTH => self.list(depth),
            Some(Token::Open) => Err(ConfigError::new(
                self.file,
                self.line,
                format!("lists are nested deeper than {DEPTH}"),
            )),
            Some(Token::Identifier(word)) => Err(ConfigError::new(
                self.file,
                self.line,
                format!(
                    "expected a string, a number or a list, found the word {word}; strings need quotes: \"{word}\""
                ),
            )),
            other => Err(self.expected("a string, a number or a list", other.as_ref())),
        }
    }

    fn list(&mut self, depth: u32) -> Result<Value, ConfigError> {
        let opened = self.line;
        let mut list = Vec::new();
        loop {
            self.skip_ends();
            match self.tokens.peek() {
                Some((_, Token::Close)) => {
                    self.next();
                    return Ok(Value::List(list));
                }
                None => return Err(self.unclosed(opened)),
                Some(_) => {}
            }
            let value = self.value(depth + 1)?;
            list.push((self.line, value));
            self.skip_ends();
            match self.next() {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(Value::List(list)),
                None => return Err(self.unclosed(opened)),
                other => return Err(self.expected("',' or ']' in a list", other.as_ref())),
            }
        }
    }

    fn skip_ends(&mut self) {
        while let Some((line, Token::End)) = self.tokens.peek() {
            self.line = *line;
            self.tokens.next();
        }
    }

    fn unclosed(&self, opened: u32) -> ConfigError {
        ConfigError::new(
            self.file,
            opened,
            "the list that begins here is not closed: expected ']'",
        )
    }

    fn expected(&self, what: &str, found: Option<&Token>) -> ConfigError {
        let found = found.map_or_else(|| "the end of the file".to_owned(), Token::describe);
        ConfigError::new(
            self.file,
            self.line,
            format!("expected {what}, found {found}"),
        )
    }
}
