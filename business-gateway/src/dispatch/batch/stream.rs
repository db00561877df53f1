//! The answer of a batch as a body. The items are under way in a task of their own, so a client that reads slowly keeps no slot of
//! a service; when the client goes away, or the answer ends in another way, the task ends and with it every item.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::run::{Done, Member, Run, Work};
use crate::accept::body::Upload;
use crate::accept::room::Taken;
use crate::respond::body::{OutgoingError, take_piece};

/// How answers stand together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// A JSON array in the order of the items.
    Array {
        /// How many items there are.
        count: usize,
    },
    /// One JSON object a line, each as soon as it is there.
    AsTheyFinish,
    /// Bodies alone, in the order of the items, with a separator in between.
    Text(Box<str>),
}

impl Order {
    /// The media type.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Array { .. } => "application/json",
            Self::AsTheyFinish => super::NDJSON,
            Self::Text(_) => "text/plain; charset=utf-8",
        }
    }

    /// What stands before the rest of an item's object.
    pub(super) fn before(&self, member: &Member) -> String {
        let mut text = match self {
            Self::Array { .. } if member.index == 0 => "[{".to_owned(),
            Self::Array { .. } => ",{".to_owned(),
            _ => format!("{{\"index\":{},", member.index),
        };
        if let Some(id) = &member.id {
            text.push_str("\"id\":");
            text.push_str(id);
            text.push(',');
        }
        text
    }

    /// What stands behind it.
    pub(super) fn behind(&self, member: &Member) -> &'static str {
        match self {
            Self::Array { count } if member.index + 1 == *count => "]\n",
            Self::Array { .. } => "",
            _ => "\n",
        }
    }

    fn keeps_order(&self) -> bool {
        !matches!(self, Self::AsTheyFinish)
    }
}

/// The body.
#[derive(Debug)]
pub struct Answers {
    finished: mpsc::Receiver<Done>,
    task: AbortHandle,
    keeps_order: bool,
    /// Finished, and not their turn yet.
    early: BTreeMap<usize, Done>,
    /// Items given out, and all of them.
    given: usize,
    count: usize,
    /// What is left of the item that is given out, and the room that it takes.
    rest: Bytes,
    room: Option<Arc<Taken>>,
}

impl Answers {
    /// Begins with `works`, of which there are `count` items. `held` is kept as long as any of them is under way.
    #[must_use]
    pub fn start(run: Run, works: Vec<Work>, held: Upload, order: &Order, count: usize) -> Self {
        let (sender, finished) = mpsc::channel(count.max(1));
        let task = tokio::spawn(async move {
            let run = Arc::new(run);
            let under_way = run.concurrency();
            let works = stream::iter(works).map(|work| Arc::clone(&run).execute(work));
            let mut executed = works.buffer_unordered(under_way);
            while let Some(done) = executed.next().await {
                for done in done {
                    // There is a place for each; only a reader that is gone has none.
                    if sender.send(done).await.is_err() {
                        return;
                    }
                }
            }
            drop(held);
        });
        Self {
            finished,
            task: task.abort_handle(),
            keeps_order: order.keeps_order(),
            early: BTreeMap::new(),
            given: 0,
            count,
            rest: Bytes::new(),
            room: None,
        }
    }

    fn give(&mut self, done: Done) {
        self.given += 1;
        self.rest = done.text;
        self.room = done.room;
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = OutgoingError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutgoingError>>> {
        let this = &mut *self;
        loop {
            if !this.rest.is_empty() {
                let piece = take_piece(&mut this.rest);
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            this.room = None;
            if this.given >= this.count {
                return Poll::Ready(None);
            }
            let given = this.given;
            if let Some(done) = this.early.remove(&given) {
                this.give(done);
                continue;
            }
            match ready!(this.finished.poll_recv(cx)) {
                Some(done) if this.keeps_order => _ = this.early.insert(done.index, done),
                Some(done) => this.give(done),
                None => return Poll::Ready(Some(Err(OutgoingError::Made("a batch ended before its items")))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.given >= self.count
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.task.abort();
    }
}
