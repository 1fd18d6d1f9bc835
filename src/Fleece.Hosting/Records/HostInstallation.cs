// SPDX-License-Identifier: MIT
namespace Fleece.Hosting.Records;

/// <summary>An installed host, or one that was: its unit, and the steps that were done.</summary>
public sealed record HostInstallation
{
    /// <summary>The unit's file.</summary>
    public string UnitPath { get; init; } = string.Empty;

    /// <summary>The unit's text.</summary>
    public string UnitText { get; init; } = string.Empty;

    /// <summary>The user and the group that the host runs as.</summary>
    public string User { get; init; } = string.Empty;

    /// <summary>The control socket.</summary>
    public string SocketPath { get; init; } = string.Empty;

    /// <summary>Where the host keeps its state.</summary>
    public string StatePath { get; init; } = string.Empty;

    /// <summary>The steps, in their order; whole sentences.</summary>
    public IReadOnlyList<string> Steps { get; init; } = [];

    /// <summary>The unit's file.</summary>
    public override string ToString() => UnitPath;
}
