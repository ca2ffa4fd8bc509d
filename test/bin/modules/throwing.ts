/** A module that can't be imported. */
throw new Error("no such region,\n  said twice")
