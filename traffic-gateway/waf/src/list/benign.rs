//! Values as ordinary sites see them, against which lists are checked.

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sample {
    /// Request target with query.
    Target,
    /// Name or value of an argument.
    Argument,
    /// `Cookie`.
    Cookie,
    /// `User-Agent`.
    UserAgent,
}

/// Values that no rule should match.
pub(super) const SAMPLES: [(Sample, &str); 62] = [
    (Sample::Target, "/"),
    (Sample::Target, "/index.html"),
    (Sample::Target, "/index.php?id=42"),
    (Sample::Target, "/favicon.ico"),
    (Sample::Target, "/robots.txt"),
    (Sample::Target, "/assets/app.3f9c2b1d.js"),
    (Sample::Target, "/static/css/main.css?v=1.12.0"),
    (Sample::Target, "/images/products/blue-shirt@2x.png"),
    (Sample::Target, "/api/v2/users/8421/orders?limit=50&offset=100&sort=-created_at"),
    (Sample::Target, "/search?q=how+to+select+a+good+laptop&page=2"),
    (Sample::Target, "/blog/2024/05/union-station-reopens"),
    (Sample::Target, "/de/produkte/k%C3%BCche?farbe=wei%C3%9F"),
    (Sample::Target, "/login?next=%2Faccount%2Fsettings"),
    (Sample::Target, "/oauth/callback?code=SplxlOBeZQQYbYS6WxSbIA&state=af0ifjsldkj"),
    (Sample::Target, "/download/report-2024.tar.gz"),
    (Sample::Target, "/wiki/Insertion_sort"),
    (Sample::Target, "/graphql"),
    (Sample::Target, "/health"),
    (Sample::Argument, "1"),
    (Sample::Argument, "true"),
    (Sample::Argument, "Anna-Lena O'Connor"),
    (Sample::Argument, "someone@example.com"),
    (Sample::Argument, "+49 30 1234567"),
    (Sample::Argument, "2024-05-17T08:30:00Z"),
    (Sample::Argument, "https://www.example.com/path?x=1"),
    (Sample::Argument, "Please select a size from the list and add it to the cart."),
    (Sample::Argument, "Union of two sets, and where to insert the key"),
    (Sample::Argument, "Prices from 10 to 20 € (or 1 = one)"),
    (Sample::Argument, "C:\\Users\\anna\\Documents"),
    (Sample::Argument, "if a < b && b > c then stop"),
    (Sample::Argument, "<p>Hello <b>world</b></p>"),
    (Sample::Argument, "日本語のテキスト"),
    (Sample::Argument, "user[address][street]"),
    (Sample::Argument, "utm_source"),
    (Sample::Argument, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP"),
    (Sample::Argument, "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4"),
    (Sample::Argument, "Line one\nLine two -- with a dash\nLine three; done."),
    (Sample::Argument, "100% cotton #blue"),
    (Sample::Argument, "SELECT was the best film of the year"),
    (Sample::Argument, "order by phone, group by friends"),
    (Sample::Cookie, "session=2c9f7a1be0d84f35"),
    (Sample::Cookie, "PHPSESSID=8bqk2v0a9s1u7t3r5e6w4y2x1z; lang=de"),
    (Sample::Cookie, "JSESSIONID=6A1F0B2C3D4E5F60718293A4B5C6D7E8.node1"),
    (Sample::Cookie, "_ga=GA1.2.1387482910.1715930000; _gid=GA1.2.90112233.1715930001"),
    (Sample::Cookie, "csrftoken=kX9cVbN2mQwErTyUiOpAsDfGhJkLzXcV; theme=dark"),
    (Sample::Cookie, "consent=%7B%22analytics%22%3Atrue%2C%22ads%22%3Afalse%7D"),
    (Sample::Cookie, "cart=W3siaWQiOjEsInF0eSI6Mn1d; currency=EUR"),
    (Sample::Cookie, "wordpress_test_cookie=WP%20Cookie%20check; wp-settings-time-1=1715930000"),
    (Sample::Cookie, "token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
    (Sample::Cookie, "last_search=union+jack; selected=from"),
    (
        Sample::UserAgent,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36",
    ),
    (
        Sample::UserAgent,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    ),
    (Sample::UserAgent, "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"),
    (
        Sample::UserAgent,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    ),
    (
        Sample::UserAgent,
        "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Mobile Safari/537.36",
    ),
    (Sample::UserAgent, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (Sample::UserAgent, "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
    (Sample::UserAgent, "okhttp/4.12.0"),
    (Sample::UserAgent, "Dart/3.4 (dart:io)"),
    (Sample::UserAgent, "kube-probe/1.29"),
    (Sample::UserAgent, "ExampleShop/5.2.1 (com.example.shop; build:812; iOS 17.5.0) Alamofire/5.9.1"),
    (Sample::UserAgent, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:126.0) Gecko/20100101 Thunderbird/115.11.0"),
];
