"""Every page of the console."""

from django.contrib.auth import views as auth
from django.urls import path

from sessions_app.views import home, ledger, tasks

urlpatterns = [
    path("", home.home, name="home"),
    path("sign-in/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("sign-out/", auth.LogoutView.as_view(), name="logout"),
    path("settings/", home.settings_page, name="settings"),
    path("settings/theme/", home.theme, name="theme"),
    path("health/workers/", home.workers, name="workers"),
    path("search/", home.search, name="search"),
    path("tasks/", tasks.task_index, name="tasks"),
    path("tasks/new/", tasks.task_new, name="task-new"),
    path("tasks/<int:pk>/", tasks.task_detail, name="task"),
    path("tasks/<int:pk>/edit/", tasks.task_edit, name="task-edit"),
    path("tasks/<int:pk>/parts/", tasks.task_parts, name="task-parts"),
    path("tasks/<int:pk>/series.json", tasks.series_json, name="task-series-json"),
    path("tasks/<int:pk>/series.csv", tasks.series_csv, name="task-series-csv"),
    path("tasks/<int:pk>/participants.csv", tasks.participants_csv, name="participants-csv"),
    path("tasks/<int:pk>/participants.json", tasks.participants_json, name="participants-json"),
    path("tasks/<int:pk>/config.json", tasks.config_json, name="task-config"),
    path("tasks/<int:pk>/start/", tasks.task_start, name="task-start"),
    path("tasks/<int:pk>/cancel/", tasks.task_cancel, name="task-cancel"),
    path("tasks/<int:pk>/clone/", tasks.task_clone, name="task-clone"),
    path("tasks/<int:pk>/claim/", tasks.task_claim, name="task-claim"),
    path("ledger/", ledger.ledger, name="ledger"),
    path("ledger/blocks/", ledger.listing, {"kind": "blocks"}, name="blocks"),
    path("ledger/transactions/", ledger.listing, {"kind": "transactions"}, name="transactions"),
    path("ledger/events/", ledger.listing, {"kind": "events"}, name="events"),
    path("ledger/token/", ledger.listing, {"kind": "transfers"}, name="token"),
    path("ledger/outbox/", ledger.listing, {"kind": "outbox"}, name="outbox"),
    path("ledger/outbox/<int:pk>/retry/", ledger.outgoing_retry, name="outgoing-retry"),
    path("ledger/holders/", ledger.listing, {"kind": "holders"}, name="holders"),
    path("ledger/contracts/", ledger.contracts, name="contracts"),
    path("ledger/contracts/<str:name>/", ledger.contract, name="contract"),
    path("ledger/contracts/<str:name>/abi.json", ledger.contract_abi, name="contract-abi"),
    path("ledger/contracts/<str:name>/code/", ledger.contract_code, name="contract-code"),
    path("ledger/contracts/<str:name>/call/", ledger.contract_call, name="contract-call"),
    path("ledger/block/<int:number>/", ledger.block, name="block"),
    path("ledger/tx/<str:tx_hash>/", ledger.transaction, name="transaction"),
    path("ledger/address/<str:value>/", ledger.address, name="address"),
    path("ledger/address/<str:value>/eth/", ledger.address_eth, name="address-eth"),
]
