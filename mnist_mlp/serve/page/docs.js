"use strict";
// Shows /openapi.json: each path with its request and responses, and a button to try it.

const element = (tag, className = "", text = "") => {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
};

function folded(title, content) {
  const details = element("details");
  details.append(element("summary", "", title), content);
  return details;
}

function section(path, method, operation) {
  const made = element("section");
  const title = element("h2");
  title.append(element("span", "method", method.toUpperCase()), element("code", "", path));
  made.append(title, element("p", "", operation.summary || ""));
  for (const { name, schema } of operation.parameters || []) {
    made.append(element("p", "note", `?${name}= ${schema.type}, ${schema.minimum} to ${schema.maximum}`));
  }
  const body = operation.requestBody && operation.requestBody.content["application/json"];
  const text = element("textarea");
  if (body) {
    text.value = JSON.stringify(body.example, null, 2);
    text.setAttribute("aria-label", `Body to send to ${path}`);
    made.append(text, folded("Request", element("pre", "", JSON.stringify(body.schema, null, 2))));
  }
  const table = element("table");
  for (const [status, { description }] of Object.entries(operation.responses)) {
    const row = element("tr");
    row.append(element("td", "", status), element("td", "", description));
    table.append(row);
  }
  made.append(folded("Responses", table), ...trying(path, method, body ? text : null));
  return made;
}

function trying(path, method, text) {
  const tools = element("div", "tools");
  const button = element("button", "", "Try it");
  const answer = element("pre");
  button.type = "button";
  answer.hidden = true;
  answer.setAttribute("aria-live", "polite");
  button.addEventListener("click", async () => {
    const began = performance.now();
    answer.hidden = false;
    try {
      const options = { method: method.toUpperCase() };
      if (text) Object.assign(options, { body: text.value, headers: { "content-type": "application/json" } });
      const response = await fetch(path.slice(1), options);
      const received = await response.text();
      const milliseconds = (performance.now() - began).toFixed(1);
      answer.textContent = `${response.status}, ${milliseconds} ms\n${received.slice(0, 20000)}`;
    } catch (error) {
      answer.textContent = `no response: ${error.message}`;
    }
  });
  tools.append(button);
  return [tools, answer];
}

async function start() {
  const description = await (await fetch("openapi.json")).json();
  const main = document.getElementById("docs");
  for (const [path, operations] of Object.entries(description.paths)) {
    for (const [method, operation] of Object.entries(operations)) main.append(section(path, method, operation));
  }
  const schemas = element("section");
  schemas.append(element("h2", "", "Schemas"));
  for (const [name, content] of Object.entries(description.components.schemas)) {
    schemas.append(folded(name, element("pre", "", JSON.stringify(content, null, 2))));
  }
  main.append(schemas);
}

start().catch((error) => {
  document.getElementById("about").textContent = `/openapi.json cannot be shown: ${error.message}`;
});
