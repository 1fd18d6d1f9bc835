// SPDX-License-Identifier: MIT
namespace Fleece.Disks;

/// <summary>How a guest is made quiet for an instant: its agent freezes its file systems, and thaws them.</summary>
/// <param name="AgentSocketPath">The agent's socket; null for the one that the guest's QEMU has for it.</param>
/// <param name="FreezeTimeout">Longest time that file systems stay frozen, whatever happens.</param>
internal sealed record QuiesceOptions(string? AgentSocketPath, TimeSpan FreezeTimeout)
{
    /// <summary>Services notice a longer one, and Windows ends a freeze after 10 s by itself.</summary>
    public static TimeSpan DefaultTimeout { get; } = TimeSpan.FromSeconds(10);
}
