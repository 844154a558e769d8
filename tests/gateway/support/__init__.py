# SPDX-License-Identifier: Apache-2.0
"""What the gateway's tests share: gateways, upstreams, clients."""
