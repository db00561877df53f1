//! A little shop: products, users and orders, believable enough to try a gateway with.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The newest orders kept; older ones are forgotten.
const MOST_ORDERS: usize = 1000;

#[derive(Debug, Clone, Copy, Serialize)]
struct Product {
    id: u64,
    name: &'static str,
    price_cents: u64,
    stock: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct User {
    id: u64,
    name: &'static str,
    city: &'static str,
}

const PRODUCTS: [Product; 5] = [
    Product { id: 1, name: "oak desk", price_cents: 41_900, stock: 12 },
    Product { id: 2, name: "desk lamp", price_cents: 5_950, stock: 140 },
    Product { id: 3, name: "office chair", price_cents: 28_500, stock: 31 },
    Product { id: 4, name: "bookshelf", price_cents: 16_200, stock: 8 },
    Product { id: 5, name: "coat rack", price_cents: 7_400, stock: 55 },
];

const USERS: [User; 3] = [
    User { id: 1, name: "Ada", city: "London" },
    User { id: 2, name: "Grace", city: "New York" },
    User { id: 3, name: "Konrad", city: "Berlin" },
];

#[derive(Debug, Clone, Serialize)]
struct Order {
    id: u64,
    product: u64,
    quantity: u64,
    total_cents: u64,
}

/// What a client sends to order something.
#[derive(Debug, Deserialize)]
struct Wish {
    product: u64,
    quantity: u64,
}

/// Why an order was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not `{"product":N,"quantity":N}`.
    NotAnOrder,
    /// There is no such product.
    NoSuchProduct,
}

/// The shop's state: only orders change.
#[derive(Debug)]
pub struct Shop {
    // Guards the orders; held for one insertion or one copy.
    orders: Mutex<BTreeMap<u64, Order>>,
}

impl Shop {
    /// A shop with two orders.
    #[must_use]
    pub fn new() -> Self {
        let first = Order { id: 1, product: 2, quantity: 2, total_cents: 11_900 };
        let second = Order { id: 2, product: 3, quantity: 1, total_cents: 28_500 };
        Self { orders: Mutex::new(BTreeMap::from([(1, first), (2, second)])) }
    }

    /// All products.
    #[must_use]
    pub fn products(&self) -> Value {
        json!(PRODUCTS)
    }

    /// One product.
    #[must_use]
    pub fn product(&self, id: u64) -> Option<Value> {
        PRODUCTS.iter().find(|product| product.id == id).map(|product| json!(product))
    }

    /// One user.
    #[must_use]
    pub fn user(&self, id: u64) -> Option<Value> {
        USERS.iter().find(|user| user.id == id).map(|user| json!(user))
    }

    /// The orders kept, oldest first.
    #[must_use]
    pub fn orders(&self) -> Value {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        json!(orders.values().collect::<Vec<_>>())
    }

    /// One order.
    #[must_use]
    pub fn order(&self, id: u64) -> Option<Value> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.get(&id).map(|order| json!(order))
    }

    /// Takes the order in `body` and returns it with its id.
    ///
    /// # Errors
    /// The body is no order, or names a product that is not there.
    pub fn take_order(&self, body: &[u8]) -> Result<Value, Refusal> {
        let Ok(wish) = serde_json::from_slice::<Wish>(body) else {
            return Err(Refusal::NotAnOrder);
        };
        let Some(product) = PRODUCTS.iter().find(|product| product.id == wish.product) else {
            return Err(Refusal::NoSuchProduct);
        };
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let id = orders.last_key_value().map_or(1, |(last, _)| last + 1);
        let total_cents = product.price_cents.saturating_mul(wish.quantity);
        let order = Order { id, product: wish.product, quantity: wish.quantity, total_cents };
        let answer = json!(order);
        orders.insert(id, order);
        if orders.len() > MOST_ORDERS {
            orders.pop_first();
        }
        Ok(answer)
    }
}

impl Default for Shop {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Refusal, Shop};

    #[test]
    fn takes_an_order_and_finds_it_again() {
        let shop = Shop::new();
        let order = shop.take_order(br#"{"product":2,"quantity":3}"#).unwrap();
        assert_eq!(order["total_cents"], 17_850);
        assert_eq!(shop.order(order["id"].as_u64().unwrap()), Some(order));
    }

    #[test]
    fn refuses_what_is_no_order() {
        let shop = Shop::new();
        assert_eq!(shop.take_order(b"{}"), Err(Refusal::NotAnOrder));
        assert_eq!(shop.take_order(br#"{"product":77,"quantity":3}"#), Err(Refusal::NoSuchProduct));
    }
}
