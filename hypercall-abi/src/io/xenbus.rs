//! `io/xenbus.h`: states of a split driver.

codes! {
    /// State that one end of a split driver writes to its `state` node, in decimal.
    pub struct XenbusState(u32);
    prefix "XenbusState" {
        /// None.
        Unknown = 0,
        /// Just created.
        Initialising = 1,
        /// The back end waits for the front end.
        InitWait = 2,
        /// The front end waits for the back end.
        Initialised = 3,
        /// In use.
        Connected = 4,
        /// Going away.
        Closing = 5,
        /// Gone.
        Closed = 6,
        /// Changing, while in use.
        Reconfiguring = 7,
        /// Changed.
        Reconfigured = 8,
    }
}

layout_entries! { types: [], constants: [XenbusState::CODES] }
