//! What both tiers share; knows neither Pingora nor axum nor Redis.
