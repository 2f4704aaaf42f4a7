// Put in front of every script that tests.thunderbird runs inside Thunderbird: what a person
// does with the mouse, by the calls that the menu entries make.

const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { FileUtils } = ChromeUtils.importESModule("resource://gre/modules/FileUtils.sys.mjs");

function ended(begin, within = 40000) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no end within " + within + " ms")), within);
    begin(status => {
      clearTimeout(timer);
      resolve(status >>> 0);
    });
  });
}

function urlListener(end) {
  return { OnStartRunningUrl() {}, OnStopRunningUrl: (url, status) => end(status) };
}

function copyListener(end) {
  return {
    onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId: () => null,
    onStopCopy: status => end(status),
    QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
  };
}

async function until(look, what, within = 30000) {
  const end = Date.now() + within;
  for (;;) {
    const seen = await look();
    if (seen) {
      return seen;
    }
    if (Date.now() > end) {
      throw new Error("not seen: " + what);
    }
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

function server() {
  return MailServices.accounts.defaultAccount.incomingServer;
}

// 140 calls it Inbox, later ones INBOX.
function named(folder) {
  return folder.name == "Inbox" ? "INBOX" : folder.name;
}

function folder(path) {
  let here = server().rootFolder;
  for (const name of path.split("/")) {
    const below = here.subFolders.find(child => named(child) == name);
    if (!below) {
      throw new Error("no folder " + path + ", but: " + here.subFolders.map(f => f.name));
    }
    here = below;
  }
  return here;
}

function folders() {
  const all = [];
  const walk = (here, above) => {
    for (const child of here.subFolders) {
      all.push({ path: above + named(child), flags: child.flags });
      walk(child, above + named(child) + "/");
    }
  };
  walk(server().rootFolder, "");
  return all;
}

// Ask the server for news of this folder. Thunderbird may be at it already, and then calls nobody.
async function update(path) {
  const here = folder(path).QueryInterface(Ci.nsIMsgImapMailFolder);
  await ended(end => {
    here.updateFolderWithListener(null, urlListener(end));
    setTimeout(() => end(0), 3000);
  });
}

function headers(path) {
  return [...folder(path).messages];
}

function letter(path, subject) {
  const found = headers(path).filter(one => one.mime2DecodedSubject == subject);
  if (found.length != 1) {
    throw new Error(found.length + " letters " + subject + " in " + path + ": " +
      headers(path).map(one => one.mime2DecodedSubject));
  }
  return found[0];
}

// Asks now and then, not at once: an EXISTS that crosses Thunderbird's own DONE makes it wait for
// a line that has come already, until its timeout of 100 s.
async function lookAgain(path, look, what) {
  let last = Date.now();
  return until(async () => {
    if (!look() && Date.now() - last > 1500) {
      await update(path);
      last = Date.now();
    }
    return look();
  }, what);
}

// The letter, once it is as wanted: `keywords` contains, the rest equals.
async function appears(path, subject, wanted = {}) {
  const fits = one => one.subject == subject && Object.entries(wanted).every(([name, value]) =>
    name == "keywords" ? one.keywords.split(" ").includes(value) : one[name] == value);
  return lookAgain(path, () => shown(path).find(fits),
    subject + " in " + path + " as " + JSON.stringify(wanted));
}

// Without asking: only what the server pushes.
async function pushed(path, subject) {
  return until(() => shown(path).find(one => one.subject == subject), "the push of " + subject);
}

async function vanishes(path, subject) {
  return lookAgain(path, () => !shown(path).some(one => one.subject == subject),
    "the end of " + subject + " in " + path);
}

function shown(path) {
  return headers(path).map(one => ({
    uid: one.messageKey, subject: one.mime2DecodedSubject, read: one.isRead, flagged: one.isFlagged,
    keywords: one.getStringProperty("keywords"), author: one.mime2DecodedAuthor,
    id: one.messageId, flags: one.flags, size: one.messageSize,
  }));
}

function about() {
  return window.gTabmail.currentAbout3Pane;
}

async function display(path) {
  await until(() => about() && about().displayFolder, "the three panes");
  about().displayFolder(folder(path).URI);
  await until(() => about().gFolder == folder(path) && about().gDBView, "the list of " + path);
}

async function read(path, subject) {
  await display(path);
  const view = about().gDBView;
  const row = view.findIndexOfMsgHdr(letter(path, subject), true);
  about().threadTree.selectedIndex = row;
  const message = () => about().messageBrowser.contentWindow;
  await until(() => message().gMessage && message().gMessage.mime2DecodedSubject == subject &&
    message().msgLoaded, "the letter " + subject);
  const text = message().getMessagePaneBrowser().contentDocument.body.textContent;
  return { text, attachments: message().currentAttachments.map(one => one.name) };
}

async function save(name, target) {
  const message = about().messageBrowser.contentWindow;
  const one = message.currentAttachments.find(each => each.name == name);
  await one.saveToFile(target);
}

async function move(source, subject, target) {
  const one = letter(source, subject);
  return ended(end => MailServices.copy.copyMessages(folder(source), [one], folder(target), true,
    copyListener(end), null, false));
}

function flag(path, subject) {
  folder(path).markMessagesFlagged([letter(path, subject)], true);
}

function markRead(path, subject) {
  folder(path).markMessagesRead([letter(path, subject)], true);
}

async function remove(source, subject) {
  const one = letter(source, subject);
  return ended(end => folder(source).deleteMessages([one], null, false, true, copyListener(end), false));
}

async function emptyTrash() {
  return ended(end => folder("Trash").emptyTrash(urlListener(end)));
}

function quota(path) {
  const told = folder(path).QueryInterface(Ci.nsIMsgImapMailFolder).getQuota();
  return told.map(one => ({ name: one.name, usage: one.usage, limit: one.limit }));
}

async function compact(path) {
  return ended(end => folder(path).compact(urlListener(end), null));
}

function tag(path, subject, label, keyword) {
  if (!MailServices.tags.isValidKey(keyword)) {
    MailServices.tags.addTagForKey(keyword, label, "#3333FF", "");
  }
  folder(path).addKeywordsToMessages([letter(path, subject)], keyword);
}

async function search(path, attribute, wanted) {
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder(path));
  const term = session.createTerm();
  term.attrib = Ci.nsMsgSearchAttrib[attribute];
  term.op = Ci.nsMsgSearchOp.Contains;
  const value = term.value;
  value.attrib = term.attrib;
  value.str = wanted;
  term.value = value;
  term.booleanAnd = true;
  session.appendTerm(term);
  const found = [];
  await ended(end => {
    session.registerListener({
      onSearchHit: hit => found.push(hit.mime2DecodedSubject),
      onSearchDone: status => end(status),
      onNewSearch() {},
    }, Ci.nsIMsgSearchSession.allNotifications);
    session.search(null);
  });
  return found;
}

// Every dialog that appears while `act` runs is noted, and answered with its first button.
async function withDialogs(act) {
  const said = [];
  const observer = {
    observe(subject) {
      const args = subject.Dialog.args;
      said.push(args.text);
      subject.setTimeout(() => subject.document.querySelector("dialog").getButton("accept").click());
    },
  };
  Services.obs.addObserver(observer, "common-dialog-loaded");
  try {
    const value = await act(said);
    return { value, said };
  } finally {
    Services.obs.removeObserver(observer, "common-dialog-loaded");
  }
}

async function compose({ identity, to, subject, body, files = [], receipt = false }) {
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"]
    .createInstance(Ci.nsIMsgCompFields);
  fields.to = to;
  fields.subject = subject;
  fields.body = body;
  for (const path of files) {
    const one = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
    one.url = Services.io.newFileURI(new FileUtils.File(path)).spec;
    one.name = path.split("/").pop();
    fields.addAttachment(one);
  }
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"]
    .createInstance(Ci.nsIMsgComposeParams);
  params.composeFields = fields;
  params.format = Ci.nsIMsgCompFormat.PlainText;
  params.identity = [...MailServices.accounts.allIdentities].find(one => one.email == identity);
  const before = new Set(Services.wm.getEnumerator("msgcompose"));
  MailServices.compose.OpenComposeWindowWithParams(null, params);
  const fresh = () => [...Services.wm.getEnumerator("msgcompose")].find(one => !before.has(one));
  await until(() => fresh() && fresh().gMsgCompose && fresh().gMsgCompose.editor &&
    fresh().document.getElementById("msgSubject").value == subject, "the window to write in");
  fresh().gMsgCompose.compFields.returnReceipt = receipt;
  return fresh();
}

async function dismiss(writing) {
  await until(() => writing.closed || !writing.gMsgCompose ||
    !writing.gSendOperationInProgress && !writing.gSaveOperationInProgress, "the end of the attempt");
  if (writing.closed || !writing.gMsgCompose) {
    return false;
  }
  writing.gContentChanged = false;
  writing.gMsgCompose.bodyModified = false;
  writing.close();
  return true;
}

// "sent", or "refused" with what the dialog said.
async function send(letter) {
  const writing = await compose(letter);
  return withDialogs(async said => {
    writing.goDoCommand("cmd_sendNow");
    await until(() => writing.closed || said.length, "the end of sending", 50000);
    if (writing.closed) {
      return "sent";
    }
    return await dismiss(writing) ? "refused" : "sent";
  });
}

async function saveDraft(letter) {
  const writing = await compose(letter);
  writing.goDoCommand("cmd_saveAsDraft");
  await appears("Drafts", letter.subject);
  await dismiss(writing);
}

async function press(label) {
  const bar = () => about().messageBrowser.contentWindow.gMessageNotificationBar.msgNotificationBar;
  const buttons = () => bar().allNotifications.flatMap(one =>
    [...one.buttonContainer.querySelectorAll("button")]);
  const wanted = () => buttons().find(one => (one.label || one.textContent).trim() == label);
  await until(wanted, "the button " + label);
  wanted().click();
}

async function goOffline() {
  Services.io.offline = true;
}

async function goOnline() {
  const manager = Cc["@mozilla.org/messenger/offline-manager;1"]
    .getService(Ci.nsIMsgOfflineManager);
  manager.goOnline(false, true, window.msgWindow);
  await until(() => !manager.inProgress && !Services.io.offline, "the changes made offline");
}

function trust(certificate) {
  const known = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
  known.addCertFromBase64(certificate, "C,,");
}

async function addAccount({ login, password, imap, smtp, starttls, condstore, name }) {
  try {
    MailServices.accounts.localFoldersServer;
  } catch {
    MailServices.accounts.createLocalMailAccount();
  }
  for (const origin of ["imap://localhost", "smtp://localhost"]) {
    const info = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    info.init(origin, null, origin, login, password, "", "");
    await Services.logins.addLoginAsync(info);
  }
  const tls = starttls ? Ci.nsMsgSocketType.alwaysSTARTTLS : Ci.nsMsgSocketType.SSL;
  const incoming = MailServices.accounts.createIncomingServer(login, "localhost", "imap");
  incoming.port = imap;
  incoming.socketType = tls;
  incoming.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
  incoming.setBoolValue("use_condstore", condstore);
  const outgoing = MailServices.outgoingServer.createServer("smtp");
  outgoing.QueryInterface(Ci.nsISmtpServer);
  outgoing.username = login;
  outgoing.hostname = "localhost";
  outgoing.port = smtp;
  outgoing.socketType = tls;
  outgoing.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
  MailServices.outgoingServer.defaultServer = outgoing;
  const account = MailServices.accounts.createAccount();
  account.addIdentity(makeIdentity(login, name, outgoing.key));
  account.incomingServer = incoming;
  MailServices.accounts.defaultAccount = account;
  incoming.valid = true;
}

function makeIdentity(address, name, outgoing) {
  const identity = MailServices.accounts.createIdentity();
  identity.fullName = name;
  identity.email = address;
  identity.smtpServerKey = outgoing;
  return identity;
}

// `sent`: the folder chosen for copies; the account's own when null.
function addIdentity(address, name, sent) {
  const account = MailServices.accounts.defaultAccount;
  const identity = makeIdentity(address, name, account.defaultIdentity.smtpServerKey);
  if (sent) {
    identity.fccFolderURI = folder(sent).URI;
    identity.fccFolderPickerMode = "1";
  }
  account.addIdentity(identity);
}

async function discover(last) {
  server().performExpand(null);
  await update("INBOX");
  await until(() => folders().some(one => one.path == last), "the folder " + last);
}

// Thunderbird fetches bodies in its own time; offline it moves only what it has.
async function bodyIsHere(path, subject) {
  await until(() => letter(path, subject).flags & Ci.nsMsgMessageFlags.Offline,
    "the body of " + subject);
}

function closeConnections() {
  server().closeCachedConnections();
}

// What the server's refusals say to the user, while `act` runs: Thunderbird's alerts, not shown.
async function alerts(act, wanted = 1) {
  const said = [];
  const listener = {
    onAlert(message) {
      said.push(message);
      return true;
    },
    onCertError() {},
    QueryInterface: ChromeUtils.generateQI(["nsIMsgUserFeedbackListener"]),
  };
  MailServices.mailSession.addUserFeedbackListener(listener);
  try {
    await act();
    await until(() => said.length >= wanted, "an alert", 8000).catch(() => 0);
    return said;
  } finally {
    MailServices.mailSession.removeUserFeedbackListener(listener);
  }
}

async function alertsOfMoving(source, subject, target) {
  return alerts(() => move(source, subject, target).catch(() => 0));
}

async function counts(path, number) {
  return until(() => folder(path).getTotalMessages(false) == number, number + " letters", 50000);
}

async function forgets(path) {
  await display("INBOX");
  await alerts(async () => {
    // The connection that it lists on may be one that stood in the box, and hear BYE first.
    let last = 0;
    await until(() => {
      if (Date.now() - last > 4000) {
        server().performExpand(window.msgWindow);
        last = Date.now();
      }
      return !folders().some(one => one.path == path);
    }, "the end of " + path);
  }, 0);
}

// What its own reader makes of an autoconfiguration, with the server that it would try first.
function configured(xml) {
  const { JXON } = ChromeUtils.importESModule("resource:///modules/JXON.sys.mjs");
  const { readFromXML } = ChromeUtils.importESModule(
    "resource:///modules/accountcreation/readFromXML.sys.mjs");
  const document = new DOMParser().parseFromString(xml, "text/xml");
  const found = readFromXML(JXON.build(document), "test");
  const told = one => [one.hostname, one.port, one.socketType, one.auth, one.username];
  return {
    domains: found.domains,
    incoming: [found.incoming, ...found.incomingAlternatives].map(told),
    outgoing: [found.outgoing, ...found.outgoingAlternatives].map(told),
  };
}
