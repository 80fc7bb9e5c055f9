{{/* Services begin with a letter, and a release need not. */}}
{{- define "loradex.name" -}}
{{- if regexMatch "^[0-9]" .Release.Name }}{{ printf "loradex-%s" .Release.Name | trunc 40 | trimSuffix "-" }}{{ else if contains "loradex" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-loradex" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "loradex.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Labels of a part: a dict of `root` and `part`. */}}
{{- define "loradex.selector" -}}
app.kubernetes.io/name: loradex
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .part | quote }}
{{- end }}

{{- define "loradex.labels" -}}
{{ include "loradex.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end }}

{{- define "loradex.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "loradex.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A variable from a secret: a dict of `name`, `secret` and `key`. */}}
{{- define "loradex.fromSecret" -}}
- name: {{ .name }}
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .key | quote }}}}
{{- end }}

{{- define "loradex.telemetry" -}}
{{- if .Values.metrics.enabled }}
- {name: LORADEX_METRICS_HOST, value: "0.0.0.0"}
{{- end }}
{{- if .Values.otel.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .Values.otel.endpoint | quote }}}
{{- with .Values.otel.env }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Rules of egress that all parts have: names, Postgres, and for those that ring Redis and the collector. */}}
{{- define "loradex.egress" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
- ports: [{port: {{ .Values.database.port }}, protocol: TCP}]
  {{- with .Values.database.peers }}
  to: {{ toYaml . | nindent 4 }}
  {{- end }}
- ports: [{port: {{ .Values.redis.port }}, protocol: TCP}]
  {{- with .Values.redis.peers }}
  to: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- if .Values.otel.endpoint }}
- ports: [{port: {{ .Values.otel.port }}, protocol: TCP}]
{{- end }}
{{- end }}

{{- define "loradex.metricsIngress" -}}
- ports: [{port: metrics, protocol: TCP}]
  {{- with .Values.metrics.peers }}
  from: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
