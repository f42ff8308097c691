// The map in a notebook: anywidget calls `render`. ipywidgets lets one message of a widget be under
// way and keeps only the newest of those that wait, so there is no queue of old frames.

function render({model, el: root}) {
  const map = latentMap(root, at => {
    model.set('at', at);
    model.save_changes();
  });
  const show = () => map.show(model.get('view'), model.get('at'));
  model.on('change:view', show);
  show();
}

export default {render};
