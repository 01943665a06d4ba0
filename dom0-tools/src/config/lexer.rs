//! The words of a configuration: identifiers, strings, numbers and punctuation, with their lines.
//!
//! Contract: the lexical rules of xl.cfg(5). A string is quoted by ' or " and knows C's escapes; # begins a comment; a line ends
//! a setting outside lists only.

use super::ConfigError;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name.
    Identifier(String),
    /// A quoted string without quotes, escapes resolved.
    Text(String),
    /// A number: decimal, 0 octal or 0x hexadecimal.
    Number(u64),
    /// `=`
    Equals,
    /// `+=`
    PlusEquals,
    /// `[`
    Open,
    /// `]`
    Close,
    /// `,`
    Comma,
    /// A line's end or `;`.
    End,
}

impl Token {
    /// For messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Identifier(name) => format!("the word {name}"),
            Self::Text(text) => format!("the string \"{text}\""),
            Self::Number(number) => format!("the number {number}"),
            Self::Equals => "'='".into(),
            Self::PlusEquals => "'+='".into(),
            Self::Open => "'['".into(),
            Self::Close => "']'".into(),
            Self::Comma => "','".into(),
            Self::End => "the end of the line".into(),
        }
    }
}

/// A word and the line it begins in.
pub type Placed = (u32, Token);

/// Splits `text` into words.
pub fn split(file: &str, text: &str) -> Result<Vec<Placed>, ConfigError> {
    let mut lexer = Lexer {
        file,
        rest: text.chars().peekable(),
        line: 1,
        found: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.found)
}

struct Lexer<'a> {
    file: &'a str,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    found: Vec<Placed>,
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), ConfigError> {
        while let Some(char) = self.rest.next() {
            let line = self.line;
            let token = match char {
                '\n' => {
                    self.line += 1;
                    Token::End
                }
                ';' => Token::End,
                '#' => {
                    while self.rest.peek().is_some_and(|char| *char != '\n') {
                        self.rest.next();
                    }
                    continue;
                }
                '=' => Token::Equals,
                '+' if self.rest.peek() == Some(&'=') => {
                    self.rest.next();
                    Token::PlusEquals
                }
                '[' => Token::Open,
                ']' => Token::Close,
                ',' => Token::Comma,
                '\'' | '"' => Token::Text(self.string(char)?),
                '0'..='9' | '-' => self.number(char)?,
                'A'..='Z' | 'a'..='z' | '_' => Token::Identifier(self.word(char)),
                ' ' | '\t' | '\r' => continue,
                '\\' if self.rest.peek() == Some(&'\n') => {
                    self.rest.next();
                    self.line += 1;
                    continue;
                }
                other => return Err(self.error(format!("unexpected character '{other}'"))),
            };
            self.found.push((line, token));
        }
        self.found.push((self.line, Token::End));
        Ok(())
    }

    fn word(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(char) = self
            .rest
            .next_if(|char| char.is_ascii_alphanumeric() || "_-.".contains(*char))
        {
            word.push(char);
        }
        word
    }

    fn number(&mut self, first: char) -> Result<Token, ConfigError> {
        let word = self.word(first);
        let parsed = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None if word.len() > 1 && word.starts_with('0') => u64::from_str_radix(&word, 8),
            None => word.parse(),
        };
        parsed.map(Token::Number).map_err(|_| {
            self.error(format!(
                "{word} is not a number from 0; strings need quotes: \"{word}\""
            ))
        })
    }

    fn string(&mut self, quote: char) -> Result<String, ConfigError> {
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some(char) if char == quote => return Ok(text),
                Some('\n') | None => {
                    return Err(self.error(format!(
                        "the string \"{text}\" is not closed: expected {quote} before the end of the line"
                    )));
                }
                Some('\\') => text.extend(self.escape()?),
                Some(char) => text.push(char),
            }
        }
    }

    fn escape(&mut self) -> Result<Option<char>, ConfigError> {
        let Some(char) = self.rest.next() else {
            return Ok(None);
        };
        Ok(Some(match char {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' | '\'' | '"' => char,
            '\n' => {
                self.line += 1;
                return Ok(None);
            }
            'x' => self.digits(16, 2, 0)?,
            '0'..='7' => {
                let first = char.to_digit(8).unwrap_or(0);
                self.digits(8, 2, first)?
            }
            other => {
                return Err(self.error(format!(
                    "unknown escape \\{other} in a string; a backslash itself is \\\\"
                )));
            }
        }))
    }

    fn digits(&mut self, radix: u32, count: usize, first: u32) -> Result<char, ConfigError> {
        let mut value = first;
        for _ in 0..count {
            let Some(char) = self.rest.next_if(|char| char.is_digit(radix)) else {
                break;
            };
            value = value * radix + char.to_digit(radix).unwrap_or(0);
        }
        char::from_u32(value).ok_or_else(|| self.error("an escape that is no character"))
    }

    fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::new(self.file, self.line, message)
    }
}
