//! Who is given the values of a body.

/// Takes what a [`BodyReader`](super::BodyReader) finds, in the order of the body. Slices are valid during the call.
pub trait Sink {
    /// A urlencoded pair, a multipart field or a JSON leaf (`ARGS_POST`, `ARGS_POST_NAMES`).
    fn argument(&mut self, name: &[u8], value: &[u8]);

    /// A file at the end of its part (`FILES_NAMES`, `FILES`, `FILES_SIZES`): the field, the name the client gave the
    /// file and the size of its content in bytes. A part that gives a second, different name (`filename` beside
    /// `filename*`) is reported once more with that name and no bytes, so that rules see both.
    fn file(&mut self, field: &[u8], filename: &[u8], bytes: u64);

    /// A piece of a file's content as it streams. Where pieces end depends on how the body arrived, and they do not
    /// overlap: whoever searches must look across the seam. The pieces between two calls of [`file`](Self::file)
    /// belong to the later one.
    fn file_piece(&mut self, field: &[u8], filename: &[u8], piece: &[u8]);

    /// A header line of a part, unfolded, without its line end (`MULTIPART_PART_HEADERS`).
    fn part_header(&mut self, field: &[u8], line: &[u8]);

    /// The text between two tags (`XML:/*`): CDATA and the five predefined entities are resolved, comments and
    /// processing instructions do not end it. Text of white space alone is left out.
    fn xml_text(&mut self, value: &[u8]);

    /// The value of an attribute (`XML://@*`), resolved as text is. Namespace declarations are none, as in XPath.
    fn xml_attribute(&mut self, value: &[u8]);

    /// What stands between `<!DOCTYPE` and its `>`, with the declarations of entities, as written.
    fn xml_doctype(&mut self, declaration: &[u8]);
}
