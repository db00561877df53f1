//! Why the business tier does not hand on what was asked or answered as it is.

use super::super::Reason;
use super::{catalogue, sub_code};

catalogue! {
    "What goes in and what comes back (business tier)" {
        ANSWER_WITHHELD = "answer_withheld", 502, "Answer withheld",
            "The API hides parts of its answers from some callers, and this answer could not be read to find them: it is not JSON, compressed, cut off, or beyond bounds.",
            "Operators: see `cause` in the access log; the service has to answer in JSON and UTF-8.", "isp.answer-withheld";
        ANSWER_UNTRANSFORMED = "answer_untransformed", 502, "Answer not transformed",
            "The answer of the service is not what the API's transforms can be applied to.",
            "Operators: see `cause` in the access log, and `transform` of the API.", "isp.answer-untransformed";
        BODY_UNTRANSFORMED = "body_untransformed", 400, "Body not understood",
            "The body of the request is not the JSON that the API expects.",
            "Send one JSON document in UTF-8, not compressed.", "isv.body-not-json";
        TRANSFORM_BODY_TOO_LARGE = "transform_body_too_large", 413, "Body too large",
            "The body of the request is larger than the API transforms.",
            "Send a smaller body.", "isv.body-too-large";
        TRANSFORM_NO_ROOM = "transform_no_room", 503, "Too many bodies at once",
            "This node holds as many bodies for transforms as it may.",
            "Try again; operators: see `held_max` of `[shape]`.", "isp.transform-no-room";
        TEMPLATE_FAILED = "template_failed", 500, "Answer not rendered",
            "The template of the API's answer failed, or wrote more than it may.",
            "Operators: see `cause` in the access log.", "isp.template-failed";
        CORS_REFUSED = "cors_refused", 403, "Not from this page",
            "A browser has asked whether a page of another origin may make this call, and it may not; `detail` says why.",
            "Operators: see `cors` of the API.", "isv.cors-refused";
    }
}
