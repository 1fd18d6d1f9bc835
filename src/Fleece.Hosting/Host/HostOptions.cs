// SPDX-License-Identifier: MIT
using Fleece.Hosting.Systemd;
using Fleece.Qemu.Guard;

namespace Fleece.Hosting.Host;

/// <summary>How a host is started.</summary>
internal sealed record HostOptions
{
    /// <summary>A guest's disk that takes as long is felt by its users.</summary>
    public static readonly TimeSpan DefaultSlowRequest = TimeSpan.FromSeconds(1);

    /// <summary>Full path of the state directory, which is made where it is missing.</summary>
    public required string StatePath { get; init; }

    /// <summary>Full path of the control socket.</summary>
    public required string SocketPath { get; init; }

    /// <summary>The group whose members may use the host, by name or number; null for root and the host's own user alone.</summary>
    public string? SocketGroup { get; init; }

    /// <summary>The folders in which clients may have files opened and made; none for all.</summary>
    public IReadOnlyList<string> AllowedFolders { get; init; } = [];

    /// <summary>The program that stands by while a guest is frozen or paused.</summary>
    public required Func<GuardProgram> Guard { get; init; }

    /// <summary>From when on the log tells of a guest's request as slow; zero for never.</summary>
    public TimeSpan SlowRequest { get; init; } = DefaultSlowRequest;

    /// <summary>Where the log goes.</summary>
    public required TextWriter Log { get; init; }

    /// <summary>Tells the service manager.</summary>
    public ServiceNotifier Notifier { get; init; } = new(null);

    /// <summary>What the service manager has kept of the process before; null for nothing. The host owns it.</summary>
    public InheritedDescriptors? Inherited { get; init; }

    /// <summary>The clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;
}
