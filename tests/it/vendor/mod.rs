//! Doubles of the vendors' services, each as strict as the service itself.

pub mod responses;
