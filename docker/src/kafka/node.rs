use crate::Node;

/// One broker of a [`KafkaTopology`](crate::KafkaTopology).
///
/// It keeps its data and its broker id over a restart. With all brokers down, one of three does not
/// come back alone: [`restart`](Node::restart) then ends after 90 s.
pub type KafkaNode = Node<Kafka>;

/// A Kafka broker.
#[derive(Debug)]
pub enum Kafka {}

impl Node<Kafka> {
    /// `127.0.0.1:PORT`, for `bootstrap.servers`. Its clients reach the brokers directly.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addr().to_string()
    }
}
