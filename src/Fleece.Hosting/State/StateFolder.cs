// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Hosting.State;

/// <summary>The state directory: it is the host's user's alone, and one host's at a time.</summary>
internal static class StateFolder
{
    private const string LockName = "lock";

    /// <summary>Makes the directory where it is missing, refuses one that others can write to, and takes its lock.</summary>
    /// <param name="path">Its full path.</param>
    /// <returns>The lock; disposing it gives the directory free.</returns>
    public static LocalFile Take(string path)
    {
        MakeOwn(path);
        return OneHostLock.Take(
            Path.Combine(path, LockName),
            path,
            $"A host runs with the state directory '{path}'",
            "Use that one, or give this one a state directory and a socket of its own.");
    }

    /// <summary>Makes the directory where it is missing, and refuses one that others can write to.</summary>
    /// <param name="path">Its full path; its parent must be there.</param>
    public static void MakeOwn(string path)
    {
        Make(path);
        CheckIsOwn(path);
    }

    private static void Make(string path)
    {
        if (File.Exists(path))
        {
            throw new BlockException(
                BlockErrors.AlreadyExists, $"'{path}' is a file, and the state is kept in a directory. Name another path.", path);
        }

        OwnFolder.Make(path, $"the state directory '{path}'");
    }

    private static void CheckIsOwn(string path)
    {
        if (OwnFolder.FindOtherOwner(path) is { } userId)
        {
            throw Refused(
                path,
                $"it belongs to the user {userId}, and this process runs as {PosixStat.UserId}. Run it as that user, or name " +
                "another directory");
        }

        if (OwnFolder.IsOpenToOthers(path))
        {
            throw Refused(
                path,
                "other users can write to it, and so could have Fleece open and publish what they like. Look whether its files are those " +
                $"of Fleece, then take the right away: chmod go-w '{path}'");
        }
    }

    private static BlockException Refused(string path, string reason) => new(
        HostErrors.StateInvalid, $"The state directory '{path}' is not used: {reason}.", path, operation: "open");
}
