// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server.Listening;

/// <summary>How a socket listens; <see cref="SocketAccess.Of"/> says which modes and groups there are.</summary>
/// <param name="SocketMode">Permissions of a unix socket's file; null for the default.</param>
/// <param name="SocketGroup">Group of a unix socket's file, by name or number; null for none.</param>
/// <param name="AllowInsecure">True to listen beyond this machine, or for all its users, without TLS.</param>
/// <param name="CanLeave">True for a socket that may be left to another process.</param>
/// <param name="SendBufferBytes">Send buffer of accepted sockets; null for the system's.</param>
internal sealed record ListenOptions(
    UnixFileMode? SocketMode, string? SocketGroup, bool AllowInsecure, bool CanLeave, int? SendBufferBytes = null);
