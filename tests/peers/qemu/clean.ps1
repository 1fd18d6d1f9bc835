# SPDX-License-Identifier: MIT
# The next command after a kill.
param([string] $QmpSocketPath)
$ErrorActionPreference = 'Stop'
Import-Module $env:FLEECE_MODULE

Stop-FleeceSession -QmpSocketPath $QmpSocketPath -Force
Get-FleeceQemuDisk -QmpSocketPath $QmpSocketPath | Format-Table Device, NodeName, Obstacle
