{{- define "onceread.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "onceread.valkey" -}}
{{ include "onceread.name" . }}-valkey
{{- end }}

{{- define "onceread.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "onceread.labels" -}}
{{ include "onceread.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "onceread.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "onceread.secret" -}}
{{ .Values.secrets.existing | default (include "onceread.name" .) }}
{{- end }}

{{- define "onceread.store" -}}
{{ .Values.store.url | default (printf "redis://onceread@%s:6379" (include "onceread.valkey" .)) }}
{{- end }}

{{/* The paths that are served outside, for the HTTPRoute and the Ingress: not /metrics. */}}
{{- define "onceread.paths" -}}
- {prefix: true, path: /v1}
- {prefix: false, path: /version}
{{- if .Values.page }}
- {prefix: false, path: /}
- {prefix: true, path: /console}
- {prefix: false, path: /health}
- {prefix: true, path: /docs}
- {prefix: false, path: /openapi.json}
{{- end }}
{{- end }}

{{/* The names that clients call a server without keys by. */}}
{{- define "onceread.hosts" -}}
{{- $name := include "onceread.name" . }}
{{- $inside := printf "%s.%s" $name .Release.Namespace }}
{{- $hosts := list $name $inside (printf "%s.svc" $inside) (printf "%s.svc.cluster.local" $inside) }}
{{- if .Values.gateway.enabled }}{{ $hosts = concat $hosts .Values.gateway.hostnames }}{{ end }}
{{- if .Values.ingress.enabled }}{{ $hosts = append $hosts .Values.ingress.host }}{{ end }}
{{- concat $hosts (.Values.hosts | default list) | join "," }}
{{- end }}

{{/* Pod Security level restricted, with a read-only root. */}}
{{- define "onceread.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "onceread.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
