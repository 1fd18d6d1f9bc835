// SPDX-License-Identifier: MIT
namespace Fleece.Hosting;

/// <summary>The kinds of errors that arise between a shell and the host.</summary>
public static class HostErrors
{
    /// <summary>A host is meant, and none answers at its socket.</summary>
    public const string NotRunning = nameof(NotRunning);

    /// <summary>The system, or the host, does not let this user use it.</summary>
    public const string AccessRefused = nameof(AccessRefused);

    /// <summary>The socket belongs to a user who may not run a host for this one.</summary>
    public const string SocketForeign = nameof(SocketForeign);

    /// <summary>Host and client are of versions that do not work together.</summary>
    public const string VersionMismatch = nameof(VersionMismatch);

    /// <summary>The connection ended during a call; the message says whether the call was done.</summary>
    public const string CallInterrupted = nameof(CallInterrupted);

    /// <summary>The host takes no more work of this client, or no more clients.</summary>
    public const string Overloaded = nameof(Overloaded);

    /// <summary>The host may not open the path: it is relative, or outside the folders that the host was given.</summary>
    public const string PathRefused = nameof(PathRefused);

    /// <summary>The state directory can't be used: damaged, of a newer version, or not the user's alone.</summary>
    public const string StateInvalid = nameof(StateInvalid);

    /// <summary>Another host uses the state directory or the socket.</summary>
    public const string AlreadyRunning = nameof(AlreadyRunning);

    /// <summary>The cmdlet does not work here: in the host's own process, or on this system.</summary>
    public const string NotHere = nameof(NotHere);
}
