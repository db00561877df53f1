//! Values of the request and its answer, in the order in which they came.

use crate::rules::names::NameId;

use super::texts::TextId;

/// A named value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) name: TextId,
    /// The number rules give the name, if they mention it.
    pub(super) id: NameId,
    pub(super) value: TextId,
}

/// A file of a multipart body.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    pub(super) member: Member,
    pub(super) size: u64,
}

/// Single texts, absent until they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scalars {
    pub(super) method: Option<TextId>,
    pub(super) line: Option<TextId>,
    pub(super) protocol: Option<TextId>,
    pub(super) uri: Option<TextId>,
    pub(super) uri_raw: Option<TextId>,
    pub(super) filename: Option<TextId>,
    pub(super) basename: Option<TextId>,
    pub(super) query: Option<TextId>,
    pub(super) body: Option<TextId>,
    pub(super) body_error: Option<TextId>,
    pub(super) server_name: Option<TextId>,
    pub(super) remote_addr: Option<TextId>,
    pub(super) server_addr: Option<TextId>,
    pub(super) unique_id: Option<TextId>,
    pub(super) status_line: Option<TextId>,
    pub(super) response_protocol: Option<TextId>,
    pub(super) response_type: Option<TextId>,
    pub(super) response_body: Option<TextId>,
}

/// All values.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// Arguments of the query string, then of the body.
    pub(super) arguments: Vec<Member>,
    /// How many of them are of the query string.
    pub(super) of_query: usize,
    pub(super) headers: Vec<Member>,
    pub(super) cookies: Vec<Member>,
    pub(super) files: Vec<File>,
    pub(super) file_windows: Vec<Member>,
    pub(super) part_headers: Vec<Member>,
    pub(super) xml_texts: Vec<TextId>,
    pub(super) xml_attributes: Vec<TextId>,
    pub(super) xml_doctypes: Vec<TextId>,
    pub(super) response_headers: Vec<Member>,
    pub(super) scalars: Scalars,
}

impl Members {
    pub(super) fn clear(&mut self) {
        self.arguments.clear();
        self.of_query = 0;
        self.headers.clear();
        self.cookies.clear();
        self.clear_body();
        self.response_headers.clear();
        self.scalars = Scalars::default();
    }

    /// Forgets what came with the body of the request.
    pub(super) fn clear_body(&mut self) {
        self.arguments.truncate(self.of_query);
        self.files.clear();
        self.file_windows.clear();
        self.part_headers.clear();
        self.xml_texts.clear();
        self.xml_attributes.clear();
        self.xml_doctypes.clear();
        self.scalars.body = None;
        self.scalars.body_error = None;
    }

    /// Arguments of the body.
    pub(super) fn of_body(&self) -> &[Member] {
        self.arguments.get(self.of_query..).unwrap_or(&[])
    }

    /// Arguments of the query string.
    pub(super) fn of_query(&self) -> &[Member] {
        self.arguments.get(..self.of_query).unwrap_or(&[])
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> [usize; 6] {
        [
            self.arguments.capacity(),
            self.headers.capacity(),
            self.cookies.capacity(),
            self.files.capacity(),
            self.part_headers.capacity(),
            self.response_headers.capacity(),
        ]
    }
}
