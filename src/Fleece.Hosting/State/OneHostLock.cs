// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Hosting.State;

/// <summary>The lock that keeps a second host from a state directory or a socket.</summary>
/// <remarks>It is on an open file, so it ends with the process that holds it, however that ends; the file stays.</remarks>
internal static class OneHostLock
{
    /// <summary>Takes the lock; disposing it gives it up.</summary>
    /// <param name="lockPath">The file, which is made where it is missing.</param>
    /// <param name="path">The directory or the socket.</param>
    /// <param name="taken">Half a sentence for a second host: that another one has it.</param>
    /// <param name="advice">A sentence for it.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.AlreadyRunning"/>, or the error of the system.</exception>
    public static LocalFile Take(string lockPath, string path, string taken, string advice)
    {
        try
        {
            return File.Exists(lockPath) ? LocalFile.Open(lockPath, isReadOnly: false) : LocalFile.Create(lockPath, 0);
        }
        catch (BlockException e) when (e.Kind is BlockErrors.InUse or BlockErrors.AlreadyExists)
        {
            string holder = LockHolders.FindProcess(lockPath) is not { } processId ? "another process"
                : processId == Environment.ProcessId ? $"this process ({processId})"
                : $"the process {processId}";
            throw new BlockException(
                HostErrors.AlreadyRunning, $"{taken} already: {holder}. {advice}", path, operation: "open", cause: e);
        }
    }
}
