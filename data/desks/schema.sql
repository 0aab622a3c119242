-- The desks' databases. Every desk has all tables; days are YYYY-MM-DD, times HH:MM, money is in cents.

CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- customer support
CREATE TABLE customers (
  id TEXT PRIMARY KEY CHECK (id GLOB 'C-[0-9]*'), name TEXT NOT NULL, email TEXT NOT NULL UNIQUE COLLATE NOCASE,
  phone TEXT NOT NULL, plan TEXT NOT NULL CHECK (plan IN ('basic', 'plus', 'business')));
CREATE TABLE orders (
  id TEXT PRIMARY KEY CHECK (id GLOB 'ORD-[0-9]*'), customer_id TEXT NOT NULL REFERENCES customers,
  placed TEXT NOT NULL CHECK (date(placed) IS placed), total_cents INTEGER NOT NULL CHECK (total_cents > 0),
  status TEXT NOT NULL CHECK (status IN ('paid', 'packed', 'shipped', 'delivered', 'returned')));
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE TABLE tickets (
  id INTEGER PRIMARY KEY, customer_id TEXT NOT NULL REFERENCES customers, subject TEXT NOT NULL CHECK (subject <> ''),
  priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high')),
  status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')), opened TEXT NOT NULL);
CREATE UNIQUE INDEX one_open_ticket ON tickets (customer_id, subject COLLATE NOCASE) WHERE status = 'open';
CREATE TABLE callbacks (
  id INTEGER PRIMARY KEY, phone TEXT NOT NULL, day TEXT NOT NULL CHECK (date(day) IS day),
  time TEXT NOT NULL CHECK (time GLOB '[0-2][0-9]:[0-5][0-9]'), UNIQUE (phone, day, time));
CREATE TABLE password_links (
  customer_id TEXT NOT NULL REFERENCES customers, day TEXT NOT NULL, PRIMARY KEY (customer_id, day)) WITHOUT ROWID;
CREATE TABLE handovers (
  id INTEGER PRIMARY KEY, asked_by TEXT NOT NULL, reason TEXT NOT NULL COLLATE NOCASE, day TEXT NOT NULL,
  urgency TEXT NOT NULL CHECK (urgency IN ('normal', 'urgent')), UNIQUE (asked_by, reason, day));

-- technical support
CREATE TABLE devices (name TEXT PRIMARY KEY COLLATE NOCASE, kind TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE readings (
  device TEXT NOT NULL REFERENCES devices, item TEXT NOT NULL CHECK (item IN ('connectivity', 'disk', 'memory',
  'battery')), ok INTEGER NOT NULL CHECK (ok IN (0, 1)), detail TEXT NOT NULL, PRIMARY KEY (device, item)) WITHOUT ROWID;
CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE systems (name TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE incidents (
  id INTEGER PRIMARY KEY, system TEXT NOT NULL REFERENCES systems, summary TEXT NOT NULL COLLATE NOCASE,
  severity TEXT NOT NULL CHECK (severity IN ('minor', 'major', 'critical')), reported_by TEXT NOT NULL,
  day TEXT NOT NULL, UNIQUE (system, summary, day));

-- office
CREATE TABLE colleagues (name TEXT PRIMARY KEY COLLATE NOCASE, role TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE emails (
  id TEXT PRIMARY KEY CHECK (id GLOB 'M-[0-9]*'), owner TEXT NOT NULL REFERENCES colleagues, sender TEXT NOT NULL,
  subject TEXT NOT NULL, body TEXT NOT NULL,
  category TEXT CHECK (category IN ('complaint', 'question', 'order', 'spam')));
CREATE TABLE replies (
  email_id TEXT NOT NULL REFERENCES emails, points TEXT NOT NULL COLLATE NOCASE, body TEXT NOT NULL,
  PRIMARY KEY (email_id, points)) WITHOUT ROWID;
CREATE TABLE suppliers (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE invoices (
  number TEXT PRIMARY KEY CHECK (number GLOB 'INV-[0-9]*'), file TEXT NOT NULL UNIQUE, sender TEXT NOT NULL,
  issued TEXT NOT NULL CHECK (date(issued) IS issued), net_cents INTEGER NOT NULL, tax_cents INTEGER NOT NULL,
  total_cents INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE approvals (
  invoice TEXT PRIMARY KEY REFERENCES invoices, day TEXT NOT NULL,
  approver TEXT NOT NULL CHECK (approver IN ('team_lead', 'finance', 'director'))) WITHOUT ROWID;
CREATE TABLE meetings (
  id INTEGER PRIMARY KEY, title TEXT NOT NULL COLLATE NOCASE, day TEXT NOT NULL CHECK (date(day) IS day),
  time TEXT NOT NULL CHECK (time GLOB '[0-2][0-9]:[0-5][0-9]'),
  minutes INTEGER NOT NULL CHECK (minutes BETWEEN 15 AND 120), UNIQUE (title, day, time));
CREATE TABLE attendance (
  meeting INTEGER NOT NULL REFERENCES meetings, colleague TEXT NOT NULL REFERENCES colleagues,
  PRIMARY KEY (meeting, colleague)) WITHOUT ROWID;

-- assistant
CREATE TABLE tasks (
  id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 99), owner TEXT NOT NULL, title TEXT NOT NULL CHECK (title <> ''),
  due TEXT CHECK (date(due) IS due), priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high')),
  status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'done')));
CREATE UNIQUE INDEX one_open_task ON tasks (owner, title COLLATE NOCASE) WHERE status = 'open';
CREATE TABLE notes (
  owner TEXT NOT NULL, title TEXT NOT NULL COLLATE NOCASE, body TEXT NOT NULL, PRIMARY KEY (owner, title)) WITHOUT ROWID;
CREATE TABLE places (
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL COLLATE NOCASE, city TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL,
  street TEXT NOT NULL);
CREATE INDEX places_by_city ON places (city, kind);
CREATE TABLE messages (
  owner TEXT NOT NULL, recipient TEXT NOT NULL COLLATE NOCASE, content TEXT NOT NULL COLLATE NOCASE,
  PRIMARY KEY (owner, recipient, content)) WITHOUT ROWID;

-- finance
CREATE TABLE shares (symbol TEXT PRIMARY KEY COLLATE NOCASE, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE prices (
  symbol TEXT NOT NULL REFERENCES shares, day TEXT NOT NULL CHECK (date(day) IS day),
  close_cents INTEGER NOT NULL CHECK (close_cents > 0), PRIMARY KEY (symbol, day)) WITHOUT ROWID;
CREATE TABLE holdings (
  portfolio TEXT NOT NULL COLLATE NOCASE, owner TEXT NOT NULL, symbol TEXT NOT NULL REFERENCES shares,
  pieces INTEGER NOT NULL CHECK (pieces > 0), PRIMARY KEY (portfolio, symbol)) WITHOUT ROWID;
CREATE TABLE watches (
  owner TEXT NOT NULL, symbol TEXT NOT NULL REFERENCES shares,
  direction TEXT NOT NULL CHECK (direction IN ('above', 'below')), price REAL NOT NULL CHECK (price > 0),
  PRIMARY KEY (owner, symbol, direction, price)) WITHOUT ROWID;

-- kiosk
CREATE TABLE stores (name TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE products (
  name TEXT PRIMARY KEY COLLATE NOCASE, category TEXT NOT NULL, price_cents INTEGER NOT NULL CHECK (price_cents > 0)
  ) WITHOUT ROWID;
CREATE TABLE stock (
  store TEXT NOT NULL REFERENCES stores, product TEXT NOT NULL REFERENCES products,
  pieces INTEGER NOT NULL CHECK (pieces >= 0), PRIMARY KEY (store, product)) WITHOUT ROWID;
CREATE TABLE discounts (
  code TEXT PRIMARY KEY COLLATE NOCASE, percent INTEGER NOT NULL CHECK (percent BETWEEN 1 AND 50),
  until TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE reservations (
  id INTEGER PRIMARY KEY, product TEXT NOT NULL REFERENCES products, customer TEXT NOT NULL COLLATE NOCASE,
  store TEXT NOT NULL REFERENCES stores, quantity INTEGER NOT NULL CHECK (quantity > 0), day TEXT NOT NULL,
  UNIQUE (product, customer, day));

-- clinic
CREATE TABLE doctors (name TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE drugs (name TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
CREATE TABLE patients (
  id TEXT PRIMARY KEY CHECK (id GLOB 'P-[0-9]*'), name TEXT NOT NULL, born TEXT NOT NULL,
  allergy TEXT REFERENCES drugs) WITHOUT ROWID;
CREATE TABLE slots (
  doctor TEXT NOT NULL REFERENCES doctors, day TEXT NOT NULL, time TEXT NOT NULL, patient_id TEXT REFERENCES patients,
  PRIMARY KEY (doctor, day, time)) WITHOUT ROWID;
CREATE TABLE tokens (
  token TEXT PRIMARY KEY, patient_id TEXT NOT NULL REFERENCES patients, until TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE record_notes (
  id INTEGER PRIMARY KEY, patient_id TEXT NOT NULL REFERENCES patients, body TEXT NOT NULL COLLATE NOCASE,
  day TEXT NOT NULL, UNIQUE (patient_id, body, day));
CREATE TABLE prescriptions (
  id INTEGER PRIMARY KEY, patient_id TEXT NOT NULL REFERENCES patients, drug TEXT NOT NULL REFERENCES drugs,
  dose TEXT NOT NULL, day TEXT NOT NULL, UNIQUE (patient_id, drug, dose, day));
CREATE TABLE interactions (
  one TEXT NOT NULL REFERENCES drugs, other TEXT NOT NULL REFERENCES drugs, effect TEXT NOT NULL,
  severity TEXT NOT NULL CHECK (severity IN ('moderate', 'serious')), PRIMARY KEY (one, other), CHECK (one < other)
  ) WITHOUT ROWID;
