//! What the log should hear of interrupts: kept until no lock is held.

use core::fmt::{Arguments, Write};

use arrayvec::ArrayString;

use super::state::State;
use super::table::IrqTable;

/// A line for the log.
pub type News = ArrayString<96>;

impl State {
    /// Keeps a line for the log.
    pub(super) fn tell(&mut self, text: Arguments<'_>) {
        let mut line = News::new();
        // What does not fit is lost: with that many broken devices the log says enough.
        let _ = line.write_fmt(text);
        let _ = self.news.try_push(line);
    }
}

impl IrqTable {
    /// The next line that the log has not been told.
    pub fn take_news(&self) -> Option<News> {
        self.state.lock().news.pop_at(0)
    }
}
