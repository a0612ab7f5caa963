//! Who wants which messages: a tree by the tokens of subjects.

use std::collections::{HashMap, HashSet};

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::bus::Message;

/// One subscription.
pub(super) struct Interest {
    id: u64,
    connection: u64,
    queue: Option<Box<str>>,
    messages: mpsc::Sender<Message>,
}

/// All subscriptions.
#[derive(Default)]
pub(super) struct Interests {
    root: Node,
    /// Connections that were cut: their subscriptions count as not there.
    cut: HashSet<u64>,
}

/// A token's place in the tree. `*` and `>` are children like any other.
#[derive(Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    here: Vec<Interest>,
}

impl Interest {
    pub(super) fn new(
        id: u64,
        connection: u64,
        queue: Option<&str>,
        messages: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            id,
            connection,
            queue: queue.map(Into::into),
            messages,
        }
    }

    /// A full queue drops the newest, which is this one: whoever does not read must not hold up the others.
    fn deliver(&self, message: &Message) {
        let _ = self.messages.try_send(message.clone());
    }
}

impl Interests {
    pub(super) fn insert(&mut self, subject: &str, interest: Interest) {
        let mut node = &mut self.root;
        for token in subject.split('.') {
            node = node.children.entry(token.into()).or_default();
        }
        node.here.push(interest);
    }

    pub(super) fn remove(&mut self, subject: &str, id: u64) {
        self.root
            .remove(&mut subject.split('.'), &|interest| interest.id == id);
    }

    pub(super) fn set_connection(&mut self, connection: u64, is_up: bool) {
        if is_up {
            self.cut.remove(&connection);
        } else {
            self.cut.insert(connection);
        }
    }

    pub(super) fn remove_connection(&mut self, connection: u64) {
        self.root.remove_all(connection);
        self.cut.remove(&connection);
    }

    /// Gives a message to everyone who wants it, and to one of each queue group. False where there is nobody.
    pub(super) fn deliver(&self, message: &Message) -> bool {
        let mut found = Vec::new();
        self.root.find(message.subject.split('.'), &mut found);
        if !self.cut.is_empty() {
            found.retain(|interest| !self.cut.contains(&interest.connection));
        }
        let mut groups: Vec<(&str, Vec<&Interest>)> = Vec::new();
        for interest in &found {
            match interest.queue.as_deref() {
                None => interest.deliver(message),
                Some(queue) => match groups.iter_mut().find(|(known, _)| *known == queue) {
                    Some((_, members)) => members.push(interest),
                    None => groups.push((queue, vec![interest])),
                },
            }
        }
        for (_, members) in groups {
            members[random_below(members.len())].deliver(message);
        }
        !found.is_empty()
    }
}

impl Node {
    fn find<'a>(&'a self, mut tokens: std::str::Split<'_, char>, found: &mut Vec<&'a Interest>) {
        let Some(token) = tokens.next() else {
            found.extend(&self.here);
            return;
        };
        if let Some(rest) = self.children.get(">") {
            found.extend(&rest.here);
        }
        for name in [token, "*"] {
            if let Some(child) = self.children.get(name) {
                child.find(tokens.clone(), found);
            }
        }
    }

    /// Takes a subscription away, and what is empty then. True where nothing is left.
    fn remove(
        &mut self,
        tokens: &mut std::str::Split<'_, char>,
        is_it: &dyn Fn(&Interest) -> bool,
    ) -> bool {
        match tokens.next() {
            None => self.here.retain(|interest| !is_it(interest)),
            Some(token) => {
                if let Some(child) = self.children.get_mut(token)
                    && child.remove(tokens, is_it)
                {
                    self.children.remove(token);
                }
            }
        }
        self.here.is_empty() && self.children.is_empty()
    }

    fn remove_all(&mut self, connection: u64) -> bool {
        self.here
            .retain(|interest| interest.connection != connection);
        self.children
            .retain(|_, child| !child.remove_all(connection));
        self.here.is_empty() && self.children.is_empty()
    }
}

/// Good enough to spread calls, and without a system call.
fn random_below(count: usize) -> usize {
    if count < 2 {
        return 0;
    }
    let (high, low) = Uuid::new_v4().as_u64_pair();
    usize::try_from((high ^ low) >> 8).unwrap_or_default() % count
}
